"""Where arrays live on a mesh of devices ("fsdp", "tp"), and where activations go in between.

Rows of a batch are shared out over "fsdp", heads and hidden units over "tp", the vocabulary over
both; weights at rest over all devices. Nothing here changes a number but by rounding.
"""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

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
