"""What steps will take by what they took: times that runs measured on the same kind of machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from reasoning_lab.config.cache import cache_dir
from reasoning_lab.engine.programs import Phase
from reasoning_lab.experiment import Experiment
from reasoning_lab.hardware.calibration import Measurement, measurements, planned_machine
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.stages.timing import sizes


@dataclass(frozen=True)
class Expected:
    """Seconds of one step in a phase, and where they come from."""

    seconds: float
    source: str


def expected_of_phases(
    experiment: Experiment, floors: Mapping[Phase, float | None]
) -> dict[Phase, Expected]:
    """What each phase of a step will take, for those of which something is known.

    Measured with equal sizes: that, the newest. Measured with others: the floor, times the median
    of what runs took over the floors of plans that were made for them on this computer.

    Args:
        floors: seconds that a phase takes at least, where the machine's speed is known.
    """
    name = planned_machine(experiment.hardware)
    known = _Floors()
    found: dict[Phase, Expected] = {}
    measured = measurements(name)
    for program, wanted in sizes(experiment).items():
        floor = floors.get(program)
        if floor is not None:
            known.keep(name, program, wanted, floor)
        of_program = [one for one in measured if one.program == program]
        if equal := [one for one in of_program if dict(one.sizes) == wanted]:
            found[program] = Expected(equal[-1].seconds, f"measured {equal[-1].date[:10]}")
            continue
        slower = [one.seconds / least for one in of_program if (least := known.of(name, one))]
        if floor is not None and slower:
            times = median(slower)
            text = f"the floor times {times:.1f}, as measured with other sizes"
            found[program] = Expected(floor * times, text)
    known.save()
    return found


class _Floors:
    """Floors of earlier plans, by machine, program and sizes."""

    def __init__(self) -> None:
        self._path: Path = cache_dir() / "plans" / "floors.json"
        text = self._path.read_text("utf-8") if self._path.exists() else "{}"
        self._seconds: dict[str, float] = json.loads(text)

    def keep(self, machine: str, program: str, of_sizes: Mapping[str, Any], floor: float) -> None:
        self._seconds[_key(machine, program, of_sizes)] = floor

    def of(self, machine: str, measured: Measurement) -> float | None:
        return self._seconds.get(_key(machine, measured.program, measured.sizes))

    def save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps(self._seconds))


def _key(machine: str, program: str, of_sizes: Mapping[str, Any]) -> str:
    return json.dumps([machine, program, of_sizes], sort_keys=True)
