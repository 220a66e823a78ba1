"""Where arrays lie on a mesh of devices ("fsdp", "tp"), which changes no number but by rounding.

Rows of a batch are shared out over "fsdp", heads and hidden units over "tp", the vocabulary over
both; weights at rest over all devices. What many tokens go through is computed where the rows are,
and each layer's weights come there when they are needed (ZeRO-3, arXiv 1910.02054). A single token
of each row is computed where the weights are: sending it round costs less than they would (the
weight-stationary layout of arXiv 2211.05102).
"""

from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from reasoning_lab.hardware.specs import HardwareSpec

_ALL = ("tp", "fsdp")

_WEIGHTS: dict[str, tuple[Any, ...]] = {
    "embedding": (_ALL, None),
    "q_proj": (None, "tp", "fsdp"),
    "kv_proj": (None, None, "tp", "fsdp"),
    "o_proj": ("tp", None, "fsdp"),
    "gate_proj": (None, _ALL),
    "up_proj": (None, _ALL),
    "down_proj": (_ALL, None),
}


def weight_sharding(name: str, shape: tuple[int, ...], mesh: Mesh) -> NamedSharding:
    """Where a base weight of this name lies; an axis that does not divide is not shared out."""
    axes = _WEIGHTS.get(name, (None,) * len(shape))
    return NamedSharding(mesh, PartitionSpec(*_dividing(axes, shape, mesh)))


def base_shardings(base: Any, mesh: Mesh) -> Any:
    """The sharding of every base weight; `base` is a tree of arrays or of their shapes."""

    def place(path: Any, x: Any) -> NamedSharding:
        return weight_sharding(path[-1].key, x.shape, mesh)

    return jax.tree.map_with_path(place, base)


def replicated(mesh: Mesh) -> NamedSharding:
    """On every device all of it: LoRA weights, optimizer state, scalars."""
    return NamedSharding(mesh, PartitionSpec())


def row_sharding(mesh: Mesh, axis: int) -> NamedSharding:
    """Rows stand in this axis of an array."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "fsdp"))


def shard_base(base: Any, mesh: Mesh) -> Any:
    """Spread base weights over the devices."""
    return jax.device_put(base, base_shardings(base, mesh)) if mesh.size > 1 else base


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Give every device all of it, as a restored checkpoint does: then jit sees the same types."""
    return jax.device_put(tree, replicated(mesh))


def shard_rows(tree: Any, mesh: Mesh, axis: int) -> Any:
    """Give each device of the mesh's first axis its part of the rows."""
    return jax.device_put(tree, row_sharding(mesh, axis)) if mesh.size > 1 else tree


def place(x: jax.Array, mesh: Mesh | None, *axes: Any) -> jax.Array:
    """Have an array of a jitted program lie there; `axes` as in PartitionSpec.

    An axis that does not divide is not shared out. On one device, or without a mesh, `x` is as it
    was.
    """
    if mesh is None or mesh.size == 1:
        return x
    axes = (*axes, *(None,) * (x.ndim - len(axes)))
    spec = PartitionSpec(*_dividing(axes, x.shape, mesh))
    placed: jax.Array = jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))
    return placed


@dataclass(frozen=True)
class Execution:
    """How programs are computed: a static argument that changes memory and time, not results."""

    mesh: Mesh | None = None
    remat: bool = False
    """Recompute each layer in the backward pass instead of keeping its activations."""
    logit_tokens: int = 64
    """Tokens of one device whose logits exist at one time."""

    @classmethod
    def on(cls, mesh: Mesh, hardware: HardwareSpec) -> "Execution":
        return cls(mesh, hardware.remat, hardware.logit_tokens)


@dataclass(frozen=True)
class Activations:
    """Where the activations of a layer lie, [B, T, ...] each."""

    mesh: Mesh | None
    weights_stay: bool
    """Tokens go to the weights; else weights come to the tokens."""

    def weight(self, name: str, weight: jax.Array) -> jax.Array:
        """A projection as it is multiplied with: whole over "fsdp", unless weights stay."""
        if self.weights_stay:
            return weight
        axes = ("tp" if axis in ("tp", _ALL) else None for axis in _WEIGHTS[name])
        return place(weight, self.mesh, *axes)

    def residual(self, x: jax.Array) -> jax.Array:
        """[B, T, D]"""
        return place(x, self.mesh, self._rows)

    def attending(self, x: jax.Array) -> jax.Array:
        """Queries, keys or values [B, T, heads, H]: attention is computed where its row is."""
        return place(x, self.mesh, "fsdp", None, "tp")

    def attended(self, x: jax.Array) -> jax.Array:
        """[B, T, N, H], about to be projected back."""
        return place(x, self.mesh, self._rows, None, "tp")

    def hidden(self, x: jax.Array) -> jax.Array:
        """[B, T, F]"""
        return place(x, self.mesh, self._rows, None, _ALL if self.weights_stay else "tp")

    @property
    def _rows(self) -> str | None:
        return None if self.weights_stay else "fsdp"


def over_vocabulary(x: jax.Array, mesh: Mesh | None) -> jax.Array:
    """An array whose first axis is the vocabulary, shared out over all devices."""
    return place(x, mesh, _ALL)


def everywhere(tree: Any, mesh: Mesh | None) -> Any:
    """What every device is to have whole, inside a jitted program."""
    return jax.tree.map(lambda x: place(x, mesh), tree)


def _dividing(axes: tuple[Any, ...], shape: tuple[int, ...], mesh: Mesh) -> tuple[Any, ...]:
    def divides(axis: Any, size: int) -> bool:
        names = axis if isinstance(axis, tuple) else (axis,)
        devices = 1
        for name in names:
            devices *= mesh.shape[name]
        return size % devices == 0

    return tuple(
        axis if axis is not None and divides(axis, size) else None
        for axis, size in zip(axes, shape, strict=True)
    )
