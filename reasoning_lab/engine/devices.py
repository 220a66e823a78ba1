"""The devices of a run: chosen before JAX starts, and laid out as a mesh."""

import jax
import numpy as np
from jax.sharding import Mesh

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


def describe() -> str:
    """What the manifest says, such as "8 x TPU v5 lite" or "1 x cpu"."""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"
