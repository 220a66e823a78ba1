"""The programs that a run executes, ready to be compiled without any weights.

Each program knows the sizes that decide what is computed, and makes the abstract arguments (shapes,
types and places) with which a run calls the very same jitted function. So the compiler of a machine
that is not there can say what that machine would need (preflight/). What is known here of the
jitted functions' signatures, tests/engine/test_programs.py compares with the calls of real runs.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from reasoning_lab.engine import decoding, grpo_step, layout, sft_step
from reasoning_lab.engine.architecture import ARCHITECTURES, Architecture, AttentionKind
from reasoning_lab.engine.lora import init_params
from reasoning_lab.engine.specs import LoraSpec, ModelSpec, TargetModule
from reasoning_lab.engine.weights import shapes
from reasoning_lab.hardware.specs import HardwareSpec

Phase = Literal["SFT step", "held-out loss", "rollout", "reference", "GRPO step", "evaluation"]

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

    def with_layers(self, kinds: tuple[AttentionKind, ...]) -> "Setting":
        """The same model with layers of these kinds alone."""
        arch = replace(self.arch, num_layers=len(kinds), attention_pattern=kinds)
        return replace(self, arch=arch)

    def execution(self, mesh: Mesh) -> layout.Execution:
        return layout.Execution(mesh, self.remat, self.logit_tokens)

    def tokens_in_a_chunk(self, rows: int, fsdp: int) -> int:
        """As engine/loss.py cuts `rows` rows."""
        return rows * max(1, self.logit_tokens * fsdp // rows)

    def base(self, mesh: Mesh) -> Any:
        """Base weights as `layout.shard_base` places them."""
        dtype = jnp.dtype(self.param_dtype)
        is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
        base = jax.tree.map(
            lambda shape: jax.ShapeDtypeStruct(shape, dtype), shapes(self.arch), is_leaf=is_shape
        )
        return jax.tree.map(_placed, base, layout.base_shardings(base, mesh))

    def lora(self, mesh: Mesh) -> Any:
        """LoRA weights, the same on every device."""
        return _everywhere(_lora(self), mesh)

    def optimizer(self, mesh: Mesh) -> Any:
        """AdamW's state, the same on every device."""
        return _everywhere(_optimizer(self), mesh)


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

    Fields that are numbers decide what it computes.
    """

    name: ClassVar[str]
    phase: ClassVar[Phase]
    """What a run measures the time of."""
    trains: ClassVar[bool] = False

    setting: Setting

    @property
    def loop_trips(self) -> int:
        """How often a loop runs that ends when the data say so: at most."""
        return 1

    @property
    @abstractmethod
    def tokens(self) -> int:
        """Tokens of one row: none sees more of them."""

    def calls(self, problems: int) -> int:
        """How often it runs for the problems of one step."""
        return 1

    @abstractmethod
    def tokens_with_logits(self, fsdp: int) -> int:
        """Tokens of all devices whose logits exist at one time."""

    def with_layers(self, kinds: tuple[AttentionKind, ...]) -> Self:
        """The same program of a model with layers of these kinds alone."""
        return replace(self, setting=self.setting.with_layers(kinds))

    @abstractmethod
    def call(self, mesh: Mesh) -> Call:
        """The jitted function with abstract arguments."""

    def cache(self, mesh: Mesh) -> Any:
        """The keys and values that it holds, abstract; None without any."""
        return None


@dataclass(frozen=True, kw_only=True)
class RowProgram(Program):
    """One that computes `micro_batches` x `rows` rows over all devices, so many rows at once."""

    micro_batches: int = 1
    rows: int
    length: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.micro_batches, self.rows, self.length)

    @property
    def tokens(self) -> int:
        return self.length

    def tokens_with_logits(self, fsdp: int) -> int:
        return self.setting.tokens_in_a_chunk(self.rows, fsdp)


@dataclass(frozen=True, kw_only=True)
class SFTStep(RowProgram):
    """One update on `micro_batches` x `rows` packed rows over all devices."""

    name = "SFT step"
    phase = "SFT step"
    trains = True

    def call(self, mesh: Mesh) -> Call:
        setting = self.setting
        arrays = {
            "params": setting.lora(mesh),
            "optimizer_state": setting.optimizer(mesh),
            "base": setting.base(mesh),
            "batch": _sft_rows(self.shape, mesh, axis=1),
            "learning_rate": _SCALAR,
            "lora_scale": _SCALAR,
        }
        static = _static(setting) | {
            "direction": _DIRECTION,
            "execution": setting.execution(mesh),
        }
        return Call(sft_step.train_step, arrays, static)


@dataclass(frozen=True, kw_only=True)
class HeldOutLoss(RowProgram):
    """The loss of one batch of held-out rows."""

    name = "held-out loss"
    phase = "held-out loss"

    def call(self, mesh: Mesh) -> Call:
        arrays = {
            "params": self.setting.lora(mesh),
            "base": self.setting.base(mesh),
            "batch": _sft_rows((self.rows, self.length), mesh, axis=0),
            "lora_scale": _SCALAR,
        }
        static = _static(self.setting) | {"execution": self.setting.execution(mesh)}
        return Call(sft_step.evaluation_loss, arrays, static)


@dataclass(frozen=True, kw_only=True)
class ReadPrompts(Program):
    """What `completions` rows begin with is read: `shared` prefixes, then each row's own part."""

    name = "read prompts"
    phase: ClassVar[Phase] = "rollout"

    shared: int
    shared_length: int
    completions: int
    own_length: int
    room: int
    closing: int

    @property
    def tokens(self) -> int:
        return self.shared_length + self.own_length + self.room

    def calls(self, problems: int) -> int:
        return -(-problems // self.shared)

    def tokens_with_logits(self, fsdp: int) -> int:
        return 0

    def call(self, mesh: Mesh) -> Call:
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
        static = _static(self.setting) | {
            "room": self.room,
            "closing_length": self.closing,
            "mesh": mesh,
        }
        return Call(decoding.prefill, arrays, static)

    def cache(self, mesh: Mesh) -> Any:
        common, state = self.outputs(mesh)
        return common.layers, state.cache.layers

    def outputs(self, mesh: Mesh) -> Any:
        """The shared cache and the state in which decoding begins, abstract."""
        return jax.tree.map(lambda x: _like_rows(x, mesh), _read(self, mesh))


@dataclass(frozen=True, kw_only=True)
class EvaluationRead(ReadPrompts):
    """The same for the held-out problems."""

    name = "evaluation: read prompts"
    phase: ClassVar[Phase] = "evaluation"


@dataclass(frozen=True, kw_only=True)
class WriteCompletions(Program):
    """Completions are written, all as long as they may be."""

    name = "write completions"
    phase: ClassVar[Phase] = "rollout"

    prompts: ReadPrompts
    greedy: bool
    truncate: bool

    @property
    def loop_trips(self) -> int:
        return self.prompts.room

    @property
    def tokens(self) -> int:
        return self.prompts.tokens

    def calls(self, problems: int) -> int:
        return self.prompts.calls(problems)

    def tokens_with_logits(self, fsdp: int) -> int:
        return self.prompts.completions

    def with_layers(self, kinds: tuple[AttentionKind, ...]) -> Self:
        return replace(super().with_layers(kinds), prompts=self.prompts.with_layers(kinds))

    def call(self, mesh: Mesh) -> Call:
        rows = self.prompts.completions
        common, state = self.prompts.outputs(mesh)
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
            "mesh": mesh,
        }
        return Call(decoding.decode, arrays, static)

    def cache(self, mesh: Mesh) -> Any:
        arrays = self.call(mesh).arrays
        return arrays["common"].layers, arrays["state"].cache.layers


@dataclass(frozen=True, kw_only=True)
class EvaluationWrite(WriteCompletions):
    """The same for the held-out problems."""

    name = "evaluation: write completions"
    phase: ClassVar[Phase] = "evaluation"


@dataclass(frozen=True, kw_only=True)
class ReferenceLogProbs(RowProgram):
    """What the frozen reference policy thinks of the completions."""

    name = "reference log-probabilities"
    phase = "reference"

    def call(self, mesh: Mesh) -> Call:
        arrays = {
            "params": self.setting.lora(mesh),
            "base": self.setting.base(mesh),
            "rows": _grpo_rows(self.shape, mesh),
            "used": _COUNT,
            "lora_scale": _SCALAR,
            "temperature": _SCALAR,
        }
        static = _static(self.setting) | {"execution": self.setting.execution(mesh)}
        return Call(grpo_step.log_probs_of_rows, arrays, static)


@dataclass(frozen=True, kw_only=True)
class GRPOStep(RowProgram):
    """One update on all completions of a step."""

    name = "GRPO step"
    phase = "GRPO step"
    trains = True

    sequence_ratio: bool

    def call(self, mesh: Mesh) -> Call:
        setting = self.setting
        scores = _on_rows(self.shape, jnp.float32, mesh, axis=1)
        rows = _grpo_rows(self.shape, mesh) | {"advantages": scores, "weights": scores}
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
            "direction": _DIRECTION,
            "sequence_ratio": self.sequence_ratio,
            "execution": setting.execution(mesh),
        }
        return Call(grpo_step.train_step, arrays, static)


_DIRECTION = sft_step.adamw_direction(0.9, 0.999, 0.0, 1.0)  # its numbers change no size


@functools.cache
def _lora(setting: Setting) -> Any:
    spec = LoraSpec(rank=setting.lora_rank, target_modules=setting.target_modules)
    return jax.eval_shape(lambda: init_params(setting.arch, spec, 0))


@functools.cache
def _optimizer(setting: Setting) -> Any:
    return jax.eval_shape(_DIRECTION.init, _lora(setting))


@functools.cache
def _read(program: ReadPrompts, mesh: Mesh) -> Any:
    call = program.call(mesh)
    static = {**call.static, "mesh": None}
    return jax.eval_shape(lambda *x: call.function(*x, **static), *call.arrays.values())


def _everywhere(tree: Any, mesh: Mesh) -> Any:
    return jax.tree.map(lambda x: _placed(x, layout.replicated(mesh)), tree)


def _static(setting: Setting) -> dict[str, Any]:
    return {"arch": setting.arch, "target_modules": setting.target_modules}


def _placed(x: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def _host(shape: tuple[int, ...], dtype: Any = jnp.int32) -> jax.ShapeDtypeStruct:
    """A NumPy array, which the compiler may put where it likes."""
    return jax.ShapeDtypeStruct(shape, dtype)


def _on_rows(shape: tuple[int, ...], dtype: Any, mesh: Mesh, axis: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=layout.row_sharding(mesh, axis))


def _sft_rows(shape: tuple[int, ...], mesh: Mesh, axis: int) -> dict[str, Any]:
    names = dict.fromkeys(("tokens", "positions", "segment_ids"), jnp.int32)
    types = {**names, "loss_mask": jnp.bool_}
    return {name: _on_rows(shape, dtype, mesh, axis) for name, dtype in types.items()}


def _grpo_rows(shape: tuple[int, ...], mesh: Mesh) -> dict[str, Any]:
    names = ("tokens", "positions", "segment_ids", "branch_ids", "predictors")
    types = {**dict.fromkeys(names, jnp.int32), "mask": jnp.bool_}
    return {name: _on_rows(shape, dtype, mesh, 1) for name, dtype in types.items()}


def _like_rows(x: jax.ShapeDtypeStruct, mesh: Mesh) -> jax.ShapeDtypeStruct:
    """What `prefill` returns: the rows and heads of keys and values [S, B, K, H] are shared out."""
    axes = (None, "fsdp", "tp") if x.ndim == 4 else ()
    return _placed(x, layout.sharding(x.shape, mesh, *axes))
