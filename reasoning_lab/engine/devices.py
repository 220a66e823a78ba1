"""The devices of a run: chosen before JAX starts, laid out as a mesh, and checked to be in use."""

import importlib.util
import logging
import os
import re
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.config.cache import cache_dir
from reasoning_lab.engine import hosts
from reasoning_lab.hardware.detect import NVIDIA_DRIVER, has_nvidia_driver, nvidia_gpus
from reasoning_lab.hardware.machines import GPU_MEMORY_FRACTION
from reasoning_lab.hardware.specs import HardwareSpec

_PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}
_PACKAGES = {"cpu": (), "gpu": ("jax_cuda12_plugin", "jax_cuda13_plugin"), "tpu": ("libtpu",)}
_REMEDIES = {
    "cpu": "Set XLA_FLAGS=--xla_force_host_platform_device_count to the number of devices.",
    "gpu": "Install the GPU build, pip install 'reasoning_lab[cuda]', and try nvidia-smi.",
    "tpu": "Install the TPU build, pip install 'reasoning_lab[tpu]', on a machine with a TPU.",
}
_IN_USE = re.compile(r"already in use|resource busy|libtpu_lockfile", re.IGNORECASE)

_log = logging.getLogger(__name__)


def choose(hardware: HardwareSpec) -> None:
    """Tell JAX, before it starts, what to start on, and meet the other hosts.

    Raises:
        ConfigError: what it would start on is not installed, or the other hosts are not there.
    """
    if hardware.platform == "gpu":
        # JAX takes 75% by default (docs.jax.dev, "GPU memory allocation"), and nothing else runs.
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(GPU_MEMORY_FRACTION))
    jax.config.update("jax_platforms", _PLATFORMS[hardware.platform])
    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    if missing := _missing(hardware):
        raise ConfigError(_not_there(hardware, missing))
    hosts.join(hardware)


def start(hardware: HardwareSpec) -> Mesh:
    """Start JAX on the chosen platform with a persistent compilation cache, and lay out the mesh.

    Raises:
        ConfigError: the platform is not there, or has another number of devices than the mesh
            needs.
    """
    choose(hardware)
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(_in_use(reason) or _not_there(hardware, reason)) from error
    if len(devices) != hardware.devices:
        raise ConfigError(
            f"hardware.fsdp={hardware.fsdp} x hardware.tp={hardware.tp} needs {hardware.devices} "
            f"devices, and {_here(hardware)} {len(devices)} ({devices[0].device_kind}). "
            f"Use hardware.fsdp={len(devices)} hardware.tp=1."
        )
    _log.info("hardware: JAX sees %s and uses all, as %s", describe(), _mesh_in_words(hardware))
    return Mesh(np.array(devices).reshape(hardware.fsdp, hardware.tp), ("fsdp", "tp"))


def describe() -> str:
    """What the manifest says, such as "8 x TPU v5 lite" or "1 x cpu"."""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def check_spread(weights: Any, mesh: Mesh) -> None:
    """Say how much of the base weights each device of this host holds.

    Raises:
        RunError: one holds less than its part, so that others do its work.
    """
    leaves = jax.tree.leaves(weights)
    held = dict.fromkeys(mesh.local_devices, 0)
    for shard in (shard for leaf in leaves for shard in leaf.addressable_shards):
        held[shard.device] = held.get(shard.device, 0) + shard.data.nbytes
    total, least = sum(leaf.nbytes for leaf in leaves), min(held.values())
    if set(held) != set(mesh.local_devices) or least < 0.99 * total / mesh.size:
        shares = ", ".join(f"{device}: {size / 1e9:.3g} GB" for device, size in held.items())
        raise RunError(
            f"The base weights ({total / 1e9:.3g} GB) do not lie on all {mesh.size} devices of the "
            f"mesh: {shares}. This is a defect of reasoning_lab: please report it. Until it is "
            "mended, use hardware.fsdp=1 hardware.tp=1 on one device."
        )
    kind = mesh.devices.flat[0].device_kind
    _log.info(
        "weights: %.3g GB over %d x %s, %.3g GB each",
        *(total / 1e9, mesh.size, kind, max(held.values()) / 1e9),
    )


def _missing(hardware: HardwareSpec) -> str | None:
    """What JAX would stumble over with pages of text, or without any."""
    packages = _PACKAGES[hardware.platform]
    if hardware.platform == "gpu" and not has_nvidia_driver():
        files = ", ".join(f"/{file}" for file in NVIDIA_DRIVER)
        return f"no NVIDIA driver: there is none of {files}"
    if packages and not any(map(importlib.util.find_spec, packages)):
        return f"the package {packages[0]} is not installed"
    if hardware.platform == "gpu" and not nvidia_gpus():
        return f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']!r} hides all of them"
    return None


def _not_there(hardware: HardwareSpec, reason: str) -> str:
    return (
        f"hardware.platform={hardware.platform}: JAX finds no such device ({reason}).\n"
        f"  {_REMEDIES[hardware.platform]}\n"
        "  Or run on the processor: hardware=cpu"
    )


def _in_use(reason: str) -> str | None:
    """libtpu lets one process at a time have the chips, and says so in several ways."""
    if not _IN_USE.search(reason):
        return None
    process = re.search(r"pid\s*(\d+)", reason)
    who = f"process {process[1]}" if process else "another process"
    how = f"kill {process[1]}" if process else "look for it with: sudo lsof /dev/accel* /dev/vfio/*"
    return (
        f"hardware.platform=tpu: the TPU is in use by {who} ({reason}).\n"
        f"  Wait until it ends, or stop it ({how}). In a notebook, restart the kernel."
    )


def _here(hardware: HardwareSpec) -> str:
    return "this machine has" if hardware.hosts == 1 else f"the {hardware.hosts} hosts have"


def _mesh_in_words(hardware: HardwareSpec) -> str:
    of_hosts = "" if hardware.hosts == 1 else f" on {hardware.hosts} hosts"
    return f"fsdp {hardware.fsdp} x tp {hardware.tp}{of_hosts}"
