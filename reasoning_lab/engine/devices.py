"""The devices of a run: chosen before JAX starts, laid out as a mesh, and really used."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from reasoning_lab.config import ConfigError
from reasoning_lab.engine.locate import cache_dir
from reasoning_lab.hardware.specs import HardwareSpec

_PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}
_REMEDIES = {
    "cpu": "Set XLA_FLAGS=--xla_force_host_platform_device_count to the number of devices.",
    "gpu": "Install the GPU build, pip install 'reasoning_lab[cuda]', and try nvidia-smi.",
    "tpu": "Install the TPU build, pip install 'reasoning_lab[tpu]', on a machine with a TPU.",
}


def start(hardware: HardwareSpec) -> Mesh:
    """Start JAX on the chosen platform with a persistent compilation cache, and lay out the mesh.

    Raises:
        ConfigError: the platform is not there, or has another number of devices than the mesh
            needs.
    """
    jax.config.update("jax_platforms", _PLATFORMS[hardware.platform])
    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter: no CUDA
        raise ConfigError(
            f"hardware.platform={hardware.platform}: JAX finds no such device "
            f"({(str(error) or type(error).__name__).splitlines()[0]}).\n"
            f"  {_REMEDIES[hardware.platform]}\n"
            "  Or run on the processor: hardware=cpu"
        ) from error
    needed = hardware.fsdp * hardware.tp
    if len(devices) != needed:
        raise ConfigError(
            f"hardware.fsdp={hardware.fsdp} x hardware.tp={hardware.tp} needs {needed} devices, "
            f"and this machine has {len(devices)} ({devices[0].device_kind}). "
            f"Use hardware.fsdp={len(devices)} hardware.tp=1."
        )
    return Mesh(np.array(devices).reshape(hardware.fsdp, hardware.tp), ("fsdp", "tp"))


def shard_base(base: Any, mesh: Mesh) -> Any:
    """Spread each large weight over all devices by its longest axis that divides; copy the rest."""

    def place(x: jax.Array) -> jax.Array:
        spec: list[Any] = [None] * x.ndim
        for axis in sorted(range(x.ndim), key=lambda axis: -x.shape[axis]):
            if x.ndim > 1 and x.shape[axis] % mesh.size == 0:
                spec[axis] = mesh.axis_names
                break
        placed: jax.Array = jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))
        return placed

    return jax.tree.map(place, base) if mesh.size > 1 else base


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Give every device all of it, as a restored checkpoint does: then jit sees the same types."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shard_rows(tree: Any, mesh: Mesh, axis: int) -> Any:
    """Give each device of the mesh's first axis its part of the rows."""
    if mesh.size == 1:
        return tree
    spec = PartitionSpec(*[None] * axis, "fsdp")
    return jax.device_put(tree, NamedSharding(mesh, spec))


def describe() -> str:
    """What the manifest says, such as "8 x TPU v5 lite" or "1 x cpu"."""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"
