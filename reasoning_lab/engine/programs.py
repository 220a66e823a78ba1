"""The programs that a run executes, ready to be compiled without any weights.

Each program knows the sizes that decide what is computed, and makes the abstract arguments (shapes,
types and places) with which a run calls the very same jitted function. So the compiler of a machine
that is not there can say what that machine would need (preflight/). What is known here of the jitted
functions' signatures, tests/engine/test_programs.py compares with the calls of real runs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh

from reasoning_lab.engine import decoding, grpo_step, layout, sft_step
from reasoning_lab.engine.architecture import ARCHITECTURES, Architecture
from reasoning_lab.engine.generate import SLOTS, round_up
from reasoning_lab.engine.grpo_batch import RowShape
from reasoning_lab.engine.lora import init_params
from reasoning_lab.engine.specs import LoraSpec, ModelSpec, TargetModule
from reasoning_lab.engine.weights import shapes
from reasoning_lab.hardware.specs import HardwareSpec
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec

Phase = Literal["SFT step", "held-out loss", "rollout", "reference", "GRPO step", "evaluation"]
"""What a run measures the time of."""

CLOSING_TOKENS = 4
"""Tokens of "</answer>"; only a tokenizer knows how many, and nothing depends on it."""

_SCALAR = jax.ShapeDtypeStruct((), jnp.float32)
_COUNT = jax.ShapeDtypeStruct((), jnp.int32, weak_type=True)  # a Python int
_END_IDS = (1, 106)  # Gemma's <eos> and <end_of_turn>


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all programs of a run have in common."""

    arch: Architecture
    param_dtype: str
    lora_rank: int
    target_modules: tuple[TargetModule, ...]
    remat: bool
    logit_tokens: int

    @classmethod
    def of(cls, model: ModelSpec, lora: LoraSpec, hardware: HardwareSpec) -> "Setting":
        return cls(
            arch=ARCHITECTURES[model.architecture],
            param_dtype=hardware.param_dtype,
            lora_rank=lora.rank,
            target_modules=lora.target_modules,
            remat=hardware.remat,
            logit_tokens=hardware.logit_tokens,
        )

    def with_layers(self, kinds: tuple[str, ...]) -> "Setting":
        """The same with other layers, one of each kind that is named."""
        arch = replace(self.arch, num_layers=len(kinds), attention_pattern=kinds)
        return replace(self, arch=arch)

    def base(self, mesh: Mesh | AbstractMesh) -> Any:
        """Base weights as `layout.shard_base` places them."""
        dtype = jnp.dtype(self.param_dtype)
        is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
        base = jax.tree.map(
            lambda shape: jax.ShapeDtypeStruct(shape, dtype), shapes(self.arch), is_leaf=is_shape
        )
        return jax.tree.map(_placed, base, layout.base_shardings(base, mesh))

    def lora(self, mesh: Mesh | AbstractMesh) -> Any:
        """LoRA weights, the same on every device."""
        spec = LoraSpec(rank=self.lora_rank, target_modules=self.target_modules)
        params = jax.eval_shape(lambda: init_params(self.arch, spec, 0))
        return jax.tree.map(lambda x: _placed(x, layout.replicated(mesh)), params)

    def optimizer(self, mesh: Mesh | AbstractMesh) -> Any:
        """AdamW's state, the same on every device."""
        state = jax.eval_shape(_DIRECTION.init, self.lora(mesh))
        return jax.tree.map(lambda x: _placed(x, layout.replicated(mesh)), state)


@dataclass(frozen=True)
class Call:
    """A jitted function and what it is called with: arrays by name in order, then static values."""

    function: Any
    arrays: Mapping[str, Any]
    static: Mapping[str, Any]

    def trace(self) -> Any:
        """jax.stages.Traced, from which jaxpr and compiled program come."""
        return self.function.trace(*self.arrays.values(), **self.static)


@dataclass(frozen=True, kw_only=True)
class Program(ABC):
    """One compiled program of a run.

    Fields that are numbers decide what it computes. `loop_trips` is the length of the one loop
    whose length is an argument: the most that it can be.
    """

    name: ClassVar[str]
    phase: ClassVar[Phase]
    trains: ClassVar[bool] = False

    setting: Setting

    @property
    def loop_trips(self) -> int:
        return 1

    @abstractmethod
    def call(self, mesh: Mesh | AbstractMesh) -> Call:
        """The jitted function with abstract arguments."""

    @abstractmethod
    def cache(self, mesh: Mesh | AbstractMesh) -> Any:
        """The keys and values that it holds, abstract; None without any."""


@dataclass(frozen=True, kw_only=True)
class SFTStep(Program):
    """One update on `micro_batches` x `rows` packed rows over all devices."""

    name = "SFT step"
    phase = "SFT step"
    trains = True

    micro_batches: int
    rows: int
    length: int

    def call(self, mesh: Mesh | AbstractMesh) -> Call:
        setting = self.setting
        arrays = {
            "params": setting.lora(mesh),
            "optimizer_state": setting.optimizer(mesh),
            "base": setting.base(mesh),
            "batch": _sft_rows((self.micro_batches, self.rows, self.length), mesh, axis=1),
            "learning_rate": _SCALAR,
            "lora_scale": _SCALAR,
        }
        static = _static(setting) | {
            "remat": setting.remat,
            "direction": _DIRECTION,
            "mesh": mesh,
        }
        return Call(sft_step.train_step, arrays, static)

    def cache(self, mesh: Mesh | AbstractMesh) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class HeldOutLoss(Program):
    """The loss of one batch of held-out rows."""

    name = "held-out loss"
    phase = "held-out loss"

    rows: int
    length: int

    def call(self, mesh: Mesh | AbstractMesh) -> Call:
        arrays = {
            "params": self.setting.lora(mesh),
            "base": self.setting.base(mesh),
            "batch": _sft_rows((self.rows, self.length), mesh, axis=0),
            "lora_scale": _SCALAR,
        }
        return Call(sft_step.evaluation_loss, arrays, _static(self.setting))

    def cache(self, mesh: Mesh | AbstractMesh) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class ReadPrompts(Program):
    """What `completions` rows begin with is read: `shared` prefixes, then each row's own part."""

    name = "read prompts"
    phase = "rollout"

    shared: int
    shared_length: int
    completions: int
    own_length: int
    room: int
    closing: int

    def call(self, mesh: Mesh | AbstractMesh) -> Call:
        rows = self.completions
        arrays = {
            "params": self.setting.lora(mesh),
            "base": self.setting.base(mesh),
            "shared": _host((self.shared, self.shared_length)),
            "shared_lengths": _host((self.shared,)),
            "own": _host((rows, self.own_length)),
            "own_lengths": _host((rows,)),
            "last": _host((rows,)),
            "finished": _host((rows,), jnp.bool_),
            "lora_scale": _SCALAR,
        }
        static = _static(self.setting) | {"room": self.room, "closing_length": self.closing}
        return Call(decoding.prefill, arrays, static)

    def cache(self, mesh: Mesh | AbstractMesh) -> Any:
        common, state = self.outputs(mesh)
        return common.layers, state.cache.layers

    def outputs(self, mesh: Mesh | AbstractMesh) -> Any:
        """The shared cache and the state in which decoding begins, abstract and not placed."""
        call = self.call(mesh)
        return jax.eval_shape(
            lambda arrays: call.function(*arrays.values(), **call.static), call.arrays
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationRead(ReadPrompts):
    """The same for the held-out problems."""

    name = "evaluation: read prompts"
    phase = "evaluation"


@dataclass(frozen=True, kw_only=True)
class WriteCompletions(Program):
    """Completions are written, all as long as they may be."""

    name = "write completions"
    phase = "rollout"

    prompts: ReadPrompts
    greedy: bool
    truncate: bool

    @property
    def loop_trips(self) -> int:
        return self.prompts.room

    def call(self, mesh: Mesh | AbstractMesh) -> Call:
        rows = self.prompts.completions
        common, state = _like_rows(self.prompts.outputs(mesh), mesh)
        arrays = {
            "params": self.setting.lora(mesh),
            "base": self.setting.base(mesh),
            "common": common,
            "state": state,
            "until": _COUNT,
            "keys": jax.eval_shape(lambda: jax.random.split(jax.random.key(0), rows)),
            "closing": _host((self.prompts.closing,)),
            "lora_scale": _SCALAR,
            "temperature": _SCALAR,
            "top_p": _SCALAR,
            "top_k": jax.ShapeDtypeStruct((), jnp.int32),
        }
        static = _static(self.setting) | {
            "end_ids": _END_IDS,
            "greedy": self.greedy,
            "truncate": self.truncate,
        }
        return Call(decoding.decode, arrays, static)

    def cache(self, mesh: Mesh | AbstractMesh) -> Any:
        arrays = self.call(mesh).arrays
        return arrays["common"].layers, arrays["state"].cache.layers


@dataclass(frozen=True, kw_only=True)
class EvaluationWrite(WriteCompletions):
    """The same for the held-out problems."""

    name = "evaluation: write completions"
    phase = "evaluation"


@dataclass(frozen=True, kw_only=True)
class ReferenceLogProbs(Program):
    """What the frozen reference policy thinks of the completions."""

    name = "reference log-probabilities"
    phase = "reference"

    micro_batches: int
    rows: int
    length: int

    @property
    def loop_trips(self) -> int:
        return self.micro_batches

    def call(self, mesh: Mesh | AbstractMesh) -> Call:
        shape = (self.micro_batches, self.rows, self.length)
        arrays = {
            "params": self.setting.lora(mesh),
            "base": self.setting.base(mesh),
            "rows": _grpo_rows(shape, mesh),
            "used": _COUNT,
            "lora_scale": _SCALAR,
            "temperature": _SCALAR,
        }
        return Call(grpo_step.log_probs_of_rows, arrays, _static(self.setting))

    def cache(self, mesh: Mesh | AbstractMesh) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class GRPOStep(Program):
    """One update on all completions of a step."""

    name = "GRPO step"
    phase = "GRPO step"
    trains = True

    micro_batches: int
    rows: int
    length: int
    sequence_ratio: bool

    @property
    def loop_trips(self) -> int:
        return self.micro_batches

    def call(self, mesh: Mesh | AbstractMesh) -> Call:
        setting = self.setting
        shape = (self.micro_batches, self.rows, self.length)
        scores = _on_rows(shape, jnp.float32, mesh, axis=1)
        rows = _grpo_rows(shape, mesh) | {"advantages": scores, "weights": scores}
        arrays = {
            "params": setting.lora(mesh),
            "optimizer_state": setting.optimizer(mesh),
            "base": setting.base(mesh),
            "rows": rows,
            "used": _COUNT,
            "old": scores,
            "first": jax.ShapeDtypeStruct((), jnp.bool_),
            "reference": scores,
            **dict.fromkeys(("learning_rate", "beta", "epsilon_low", "epsilon_high"), _SCALAR),
            **dict.fromkeys(("temperature", "lora_scale"), _SCALAR),
        }
        static = _static(setting) | {
            "remat": setting.remat,
            "direction": _DIRECTION,
            "sequence_ratio": self.sequence_ratio,
            "mesh": mesh,
        }
        return Call(grpo_step.train_step, arrays, static)

    def cache(self, mesh: Mesh | AbstractMesh) -> None:
        return None


def sft_programs(setting: Setting, stage: SFTSpec, hardware: HardwareSpec) -> Iterator[Program]:
    """What supervised fine-tuning runs while it trains."""
    rows, at_once = stage.batch_tokens // stage.max_length, _rows_at_once(hardware)
    micro_batches = max(1, rows // at_once)
    yield SFTStep(
        setting=setting,
        micro_batches=micro_batches,
        rows=rows // micro_batches,
        length=stage.max_length,
    )
    if stage.eval_every:
        yield HeldOutLoss(setting=setting, rows=at_once, length=stage.max_length)


def grpo_programs(setting: Setting, stage: GRPOSpec, hardware: HardwareSpec) -> Iterator[Program]:
    """What a step of GRPO runs, in order."""
    groups = min(
        stage.batch_size, max(1, hardware.generation_batch_size // stage.num_generations)
    )
    prompts = ReadPrompts(
        setting=setting,
        shared=groups,
        shared_length=stage.max_prompt_length - 1,
        completions=groups * stage.num_generations,
        own_length=0,
        room=stage.max_completion_length,
        closing=CLOSING_TOKENS if stage.end_after_answer else 0,
    )
    yield prompts
    truncates = stage.top_p < 1 or stage.top_k > 0
    yield WriteCompletions(setting=setting, prompts=prompts, greedy=False, truncate=truncates)
    shape = RowShape.for_step(
        groups=stage.batch_size,
        num_generations=stage.num_generations,
        max_prompt_length=stage.max_prompt_length,
        max_completion_length=stage.max_completion_length,
        row_length=stage.tokens_in_a_row,
        rows_at_once=_rows_at_once(hardware),
    )
    sizes = {"micro_batches": shape.micro_batches, "rows": shape.rows, "length": shape.length}
    if stage.beta:
        yield ReferenceLogProbs(setting=setting, **sizes)
    ratio = stage.importance_ratio == "sequence"
    yield GRPOStep(setting=setting, sequence_ratio=ratio, **sizes)


def evaluation_programs(
    setting: Setting, hardware: HardwareSpec, *, problems: int, prompt_length: int, new_tokens: int
) -> Iterator[Program]:
    """Answers to held-out problems whose prompts are at most `prompt_length` tokens."""
    prompts = EvaluationRead(
        setting=setting,
        shared=1,
        shared_length=SLOTS,
        completions=min(hardware.generation_batch_size, 1 << (problems - 1).bit_length()),
        own_length=max(SLOTS, round_up(prompt_length, SLOTS) - SLOTS),
        room=round_up(new_tokens, SLOTS),
        closing=0,
    )
    yield prompts
    yield EvaluationWrite(setting=setting, prompts=prompts, greedy=True, truncate=False)


def bytes_on_a_device(tree: Any) -> int:
    """Bytes that abstract arrays take on one device of their mesh; not placed: all of each."""

    def of(x: jax.ShapeDtypeStruct) -> int:
        shape = x.sharding.shard_shape(x.shape) if x.sharding is not None else x.shape
        size = 1
        for axis in shape:
            size *= axis
        return size * _item_bytes(x.dtype)

    return sum(of(leaf) for leaf in jax.tree.leaves(tree))


def _item_bytes(dtype: Any) -> int:
    if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        return 8  # threefry: two 32-bit words
    return int(jnp.dtype(dtype).itemsize)


def _rows_at_once(hardware: HardwareSpec) -> int:
    return hardware.fsdp * hardware.rows_per_micro_batch


_DIRECTION = sft_step.adamw_direction(0.9, 0.999, 0.0, 1.0)  # its numbers change no size


def _static(setting: Setting) -> dict[str, Any]:
    return {"arch": setting.arch, "target_modules": setting.target_modules}


def _placed(x: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def _host(shape: tuple[int, ...], dtype: Any = jnp.int32) -> jax.ShapeDtypeStruct:
    """A NumPy array, which the compiler may put where it likes."""
    return jax.ShapeDtypeStruct(shape, dtype)


def _on_rows(
    shape: tuple[int, ...], dtype: Any, mesh: Mesh | AbstractMesh, axis: int
) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=layout.row_sharding(mesh, axis))


def _sft_rows(shape: tuple[int, ...], mesh: Mesh | AbstractMesh, axis: int) -> dict[str, Any]:
    names = dict.fromkeys(("tokens", "positions", "segment_ids"), jnp.int32)
    types = {**names, "loss_mask": jnp.bool_}
    return {name: _on_rows(shape, dtype, mesh, axis) for name, dtype in types.items()}


def _grpo_rows(shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> dict[str, Any]:
    names = ("tokens", "positions", "segment_ids", "branch_ids", "predictors")
    types = {**dict.fromkeys(names, jnp.int32), "mask": jnp.bool_}
    return {name: _on_rows(shape, dtype, mesh, 1) for name, dtype in types.items()}


def _like_rows(outputs: Any, mesh: Mesh | AbstractMesh) -> Any:
    """What `prefill` returns, with its rows shared out where that divides."""

    def place(path: Any, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        axis = 1 if x.ndim == 4 else 0  # of a cache [S, B, K, H] the second
        divides = x.ndim > axis and x.shape[axis] % mesh.shape["fsdp"] == 0
        return _placed(x, layout.row_sharding(mesh, axis) if divides else layout.replicated(mesh))

    return jax.tree.map_with_path(place, outputs)
