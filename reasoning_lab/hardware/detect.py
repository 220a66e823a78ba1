"""What accelerators this machine has, seen without starting JAX: that is what hardware=auto asks.

Where JAX itself looks (jax/_src/hardware_utils.py): TPU chips by vendor and device on the PCI bus,
NVIDIA cards by the driver's files. Kaggle and Colab hide the bus, but set TPU_* variables.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

NVIDIA_DRIVER = ("dev/nvidiactl", "dev/nvidia0", "dev/dxg")  # the last one: Windows' Linux (WSL2)

_GOOGLE = "0x1ae0"
_TPU_CHIPS = {"0x0027", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"}  # v3 to v7
_TPU_VARIABLES = ("TPU_ACCELERATOR_TYPE", "TPU_CHIPS_PER_HOST_BOUNDS", "COLAB_TPU_ADDR")
_ROOT = Path("/")


@dataclass(frozen=True)
class Machine:
    """A file in conf/hardware/, and how many devices JAX will find."""

    choice: str
    devices: int


def this_machine(root: Path = _ROOT, environment: Mapping[str, str] = os.environ) -> Machine:
    """The accelerators that are here, TPU before GPU, or else the processor.

    JAX_PLATFORMS=cpu in the environment means: do not use them.
    """
    if environment.get("JAX_PLATFORMS", "") != "cpu":
        if chips := tpu_chips(root, environment):
            return Machine("tpu_v5e8", chips)
        if cards := nvidia_gpus(root, environment):
            return Machine("rtx3090", cards)
    virtual = re.search(
        r"--xla_force_host_platform_device_count=(\d+)", environment.get("XLA_FLAGS", "")
    )
    return Machine("cpu", int(virtual[1]) if virtual else 1)


def has_nvidia_driver(root: Path = _ROOT) -> bool:
    return any((root / file).exists() for file in NVIDIA_DRIVER)


def nvidia_gpus(root: Path = _ROOT, environment: Mapping[str, str] = os.environ) -> int:
    """NVIDIA cards that programs started here may use: CUDA_VISIBLE_DEVICES hides the others."""
    if not has_nvidia_driver(root):
        return 0
    cards = len(list((root / "proc/driver/nvidia/gpus").glob("*")))
    cards = cards or len(list((root / "dev").glob("nvidia[0-9]*"))) or 1
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return cards
    named = [name.strip() for name in visible.split(",")]
    hidden = [place for place, name in enumerate(named) if name in ("", "-1")]
    return min(cards, hidden[0] if hidden else len(named))  # CUDA stops at the first wrong name


def tpu_chips(root: Path = _ROOT, environment: Mapping[str, str] = os.environ) -> int:
    """TPU chips of this machine."""
    if on_bus := sum(map(_is_tpu, (root / "sys/bus/pci/devices").glob("*"))):
        return on_bus
    files = len(list((root / "dev").glob("accel[0-9]*")))
    if files or not any(name in environment for name in _TPU_VARIABLES):
        return files
    bounds = re.findall(r"\d+", environment.get("TPU_CHIPS_PER_HOST_BOUNDS", ""))
    kind = re.search(r"-(\d+)$", environment.get("TPU_ACCELERATOR_TYPE", ""))  # as in v5litepod-8
    groups = len(list((root / "dev/vfio").glob("[0-9]*")))
    return groups or (prod(map(int, bounds)) if bounds else int(kind[1]) if kind else 1)


def _is_tpu(device: Path) -> bool:
    try:
        vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "device"))
    except OSError:
        return False
    return vendor == _GOOGLE and kind in _TPU_CHIPS
