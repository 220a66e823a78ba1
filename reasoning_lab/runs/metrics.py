"""metrics.jsonl: one record of numbers a step, each step of the final history once."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, SupportsFloat

from reasoning_lab.runs.records import RecordWriter, read_records


class MetricsWriter:
    """Appends `{"step", "time", **metrics}` to metrics.jsonl; arguments as in `RecordWriter`."""

    def __init__(self, path: Path, *, resume_step: int | None = None) -> None:
        self._records = RecordWriter(path, resume_step=resume_step)

    def log(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Write one record, with the time in seconds since 1970 (UTC).

        Raises:
            DiskFullError: no space; earlier records are intact.
        """
        values = {name: float(value) for name, value in metrics.items()}
        self._records.append({"step": step, "time": round(time.time(), 3), **values})

    def close(self) -> None:
        self._records.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class Point:
    """One value of one metric."""

    step: int
    value: float


def read_series(path: Path, name: str) -> list[Point]:
    """The values of one metric in a metrics.jsonl, in the order written; NaN and infinities too."""
    return [
        Point(record["step"], float(record[name]))  # float() undoes "NaN" and "Infinity"
        for record in read_records(path)
        if name in record
    ]


def read_names(path: Path) -> list[str]:
    """The names of all metrics in a metrics.jsonl, each once, in the order of appearance."""
    names = dict.fromkeys(name for record in read_records(path) for name in record)
    return [name for name in names if name not in ("step", "time")]
