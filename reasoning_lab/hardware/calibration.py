"""What programs took on machines they have run on: every run adds its own, and plans ask."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from reasoning_lab.config.cache import cache_dir
from reasoning_lab.hardware.specs import Chip, HardwareSpec

Program = Literal["SFT step", "rollout", "reference", "GRPO step"]

_KINDS: dict[Chip, str] = {  # as JAX calls them (device_kind)
    "cpu": "cpu",
    "rtx3090": "NVIDIA GeForce RTX 3090",
    "tpu_v5e": "TPU v5 lite",
}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a program took in one run."""

    machine: str
    """As `machine_name` calls it."""
    program: Program
    sizes: Mapping[str, Any]
    """All that decides what the program computes: stages/timing.py says which keys there are."""
    seconds: float
    """The median over the steps without the first, which compiles."""
    tokens: float | None
    """Mean tokens of a completion, where the time depends on what was sampled."""
    steps: int
    """How many the median is over."""
    date: str
    """ISO 8601, UTC."""
    versions: Mapping[str, str]


def machine_name(devices: str) -> str:
    """Devices as the manifest names them, such as "8 x TPU v5 lite"; of processors, which one."""
    if not devices.endswith(" cpu"):
        return devices
    return f"{devices} ({_processor()}, {os.cpu_count()} cores)"


def planned_machine(hardware: HardwareSpec) -> str:
    """The name that a machine as described would have."""
    return machine_name(f"{hardware.devices} x {_KINDS[hardware.chip]}")


def measurements(machine: str) -> list[Measurement]:
    """All that was measured on a machine, oldest first; lines that a crash tore are left out."""
    path = _path(machine)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [found for found in map(_parsed, lines) if found is not None]


def add(measurement: Measurement) -> None:
    """Append a measurement to those of its machine, in one write, as several runs may do at once.

    Raises:
        OSError: the cache cannot be written to.
    """
    path = _path(measurement.machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(asdict(measurement), allow_nan=False)
    with path.open("ab", buffering=0) as file:
        # A line end before it too: the line before may be torn.
        file.write(f"\n{line}\n".encode())


def _path(machine: str) -> Path:
    name = re.sub(r"[^a-z0-9]+", "_", machine.lower()).strip("_")
    return cache_dir() / "measured" / f"{name}.jsonl"


def _parsed(line: str) -> Measurement | None:
    try:
        return Measurement(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _processor() -> str:
    """The model of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1].strip() if model else "unknown processor"
