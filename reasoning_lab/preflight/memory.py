"""What lies in a chip's memory while a program runs, as far as shapes alone say it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh

from reasoning_lab.engine.programs import Program
from reasoning_lab.preflight.compiled import Compiled


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Bytes of one chip. Together they are the peak."""

    base: float
    """Base weights."""
    lora: float
    """LoRA weights (the policy's and, in GRPO, the reference's) and AdamW's two moments."""
    batch: float
    """Tokens and what goes with them."""
    logits: float
    """Those of one chunk of tokens."""
    cache: float
    """Keys and values."""
    rest: float = 0.0
    """Activations, gradients, gathered weights and temporaries: what is left of the peak."""

    @property
    def total(self) -> float:
        return float(sum(getattr(self, field.name) for field in fields(self)))


def known_parts(program: Program, fsdp: int, tp: int, state: float) -> Parts:
    """All but the rest, exactly; of logits, that they exist once in float32.

    Args:
        state: LoRA weights and optimizer state that stay in memory while the run goes on, whichever
            program runs.
    """
    mesh = mesh_without_devices(fsdp, tp)
    arrays = program.call(mesh).arrays
    cache = bytes_on_a_device(program.cache(mesh))
    in_arrays = sum(
        bytes_on_a_device(arrays[name].layers if name == "common" else arrays[name].cache.layers)
        for name in ("common", "state")
        if name in arrays
    )
    named = ("params", "optimizer_state", "base")
    others = sum(bytes_on_a_device(x) for name, x in arrays.items() if name not in named)
    return Parts(
        base=bytes_on_a_device(arrays["base"]),
        lora=state,
        batch=others - in_arrays,
        logits=logit_bytes(program, fsdp, tp),
        cache=cache,
    )


def logit_bytes(program: Program, fsdp: int, tp: int) -> float:
    """float32 logits of the tokens of a chunk, their vocabulary shared out over all chips."""
    return 4.0 * program.setting.arch.vocab_size * program.tokens_with_logits(fsdp) / (fsdp * tp)


def state_of(programs: Sequence[Program], fsdp: int, tp: int) -> float:
    """Bytes of LoRA weights and optimizer state that a run keeps on each chip all the time."""
    mesh = mesh_without_devices(fsdp, tp)
    trained = next(program for program in programs if program.trains)
    lora = bytes_on_a_device(trained.setting.lora(mesh))
    with_reference = any(program.phase == "reference" for program in programs)
    return lora * (2 if with_reference else 1) + bytes_on_a_device(trained.setting.optimizer(mesh))


def resident_besides(
    program: Program, compiled: Compiled, fsdp: int, tp: int, state: float
) -> float:
    """Bytes that lie in memory while a program runs and are not in its own peak.

    Those of arguments that it does not read, of which a jitted function leaves out the arrays; and
    what other programs of the run keep there: LoRA weights and optimizer state.
    """
    if compiled.refused:
        return 0.0
    arrays = program.call(mesh_without_devices(fsdp, tp)).arrays
    given = sum(map(bytes_on_a_device, arrays.values()))
    own = sum(bytes_on_a_device(arrays[x]) for x in ("params", "optimizer_state") if x in arrays)
    return max(0.0, given - compiled.arguments) + state - own


def mesh_without_devices(fsdp: int, tp: int) -> Mesh:
    """Enough to say where arrays would lie, and how large their parts are."""
    return cast(Mesh, AbstractMesh((fsdp, tp), ("fsdp", "tp")))


def bytes_on_a_device(tree: Any) -> int:
    """Bytes that abstract arrays take on one device of their mesh; not placed: all of each."""

    def of(x: jax.ShapeDtypeStruct) -> int:
        shape = x.sharding.shard_shape(x.shape) if x.sharding is not None else x.shape
        return int(prod(shape)) * _item_bytes(x.dtype)

    return sum(of(leaf) for leaf in jax.tree.leaves(tree))


def _item_bytes(dtype: Any) -> int:
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return 8  # threefry: two 32-bit words
    return int(jnp.dtype(dtype).itemsize)
