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
import numpy as np
from jax.experimental import multihost_utils
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
    return jax.tree.map(_lay, base, base_shardings(base, mesh)) if mesh.size > 1 else base


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Give every device all of it, as a restored checkpoint does: then jit sees the same types."""
    return jax.tree.map(lambda x: _lay(x, replicated(mesh)), tree)


def shard_rows(tree: Any, mesh: Mesh, axis: int) -> Any:
    """Give each device of the mesh's first axis its part of the rows."""
    if mesh.size == 1:
        return tree
    return jax.tree.map(lambda x: _lay(x, row_sharding(mesh, axis)), tree)


def on_host(x: Any) -> np.ndarray[Any, Any]:
    """An array whole, on every host of the mesh."""
    if not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def _lay(x: Any, sharding: NamedSharding) -> jax.Array:
    """Lay an array on the mesh; of one that every host has, each host gives its devices' part."""
    if sharding.is_fully_addressable or (isinstance(x, jax.Array) and not x.is_fully_addressable):
        laid: jax.Array = jax.device_put(x, sharding)
        return laid
    whole = np.asarray(x)
    return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])


def sharding(shape: tuple[int, ...], mesh: Mesh, *axes: Any) -> NamedSharding:
    """`axes` as in PartitionSpec, of which the last may be missing; one that does not divide is not
    shared out."""
    axes = (*axes, *(None,) * (len(shape) - len(axes)))
    return NamedSharding(mesh, PartitionSpec(*_dividing(axes, shape, mesh)))


def place(x: jax.Array, mesh: Mesh | None, *axes: Any) -> jax.Array:
    """Have an array of a jitted program lie there; `axes` as in PartitionSpec.

    An axis that does not divide is not shared out. On one device, or without a mesh, `x` is as it
    was.
    """
    if mesh is None or mesh.size == 1:
        return x
    placed: jax.Array = jax.lax.with_sharding_constraint(x, sharding(x.shape, mesh, *axes))
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
        return weight if self.weights_stay else place(weight, self.mesh, *self._axes(name))

    def not_before(self, before: jax.Array, weights: Any) -> Any:
        """A layer's weights, not sent for before `before` exists, the input of the layer before it.

        So they come while that layer is computed. Without this, XLA may send for the weights of all
        layers at once and hold them.
        """
        if self.mesh is None or self.mesh.size == 1 or self.weights_stay:
            return weights
        # No gradients: else those of the frozen weights would be traced too, until XLA drops them.
        return jax.lax.optimization_barrier(jax.lax.stop_gradient((weights, before)))[0]

    def product(self, name: str, x: jax.Array) -> jax.Array:
        """What comes out of a projection, [B, T, ..outputs]: where its weight is."""
        outputs = self._axes(name)[2 - x.ndim :]
        return place(x, self.mesh, self._rows, None, *outputs)

    def residual(self, x: jax.Array) -> jax.Array:
        """[B, T, D]"""
        return place(x, self.mesh, self._rows)

    def attending(self, x: jax.Array) -> jax.Array:
        """Queries, keys or values [B, T, heads, H]: attention is computed where its row is."""
        return place(x, self.mesh, "fsdp", None, "tp")

    def attended(self, x: jax.Array) -> jax.Array:
        """[B, T, N, H], about to be projected back."""
        return place(x, self.mesh, self._rows, None, "tp")

    def _axes(self, name: str) -> tuple[Any, ...]:
        axes = _WEIGHTS[name]
        if self.weights_stay:
            return axes
        return tuple("tp" if axis in ("tp", _ALL) else None for axis in axes)

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
