"""What every run of a sweep is doing, read from its folder while it is at it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import read_status

_TAIL_BYTES = 1 << 16
# What a glance at a run should show, the first of these that it has recorded.
_HEADLINES = ("eval/score", "eval/loss", "reward/total", "train/loss")
_STEP_SECONDS = ("time/step", "train/seconds")


@dataclass(frozen=True)
class RunState:
    """One run at a moment.

    state: of status.json, or "waiting", "starting", "unreadable".
    headline: the newest value of the metric of that name.
    seconds: of the latest attempt. seconds_left: of training, by the speed of the last steps.
    written: when status.json was, in nanoseconds since 1970.
    """

    name: str
    state: str
    step: int = 0
    max_steps: int | None = None
    seconds: float = 0.0
    seconds_left: float | None = None
    headline: tuple[str, float] | None = None
    error: str | None = None
    written: int = 0

    @property
    def has_ended(self) -> bool:
        return self.state in ("done", "failed")

    @property
    def ran_out_of_disk(self) -> bool:
        return (self.error or "").startswith("DiskFullError")


def read_state(folder: RunFolder, before: RunState | None = None) -> RunState:
    """The state of the run in a folder, which need not exist.

    Args:
        before: what was read earlier; a run that has ended is not read again.
    """
    try:
        written = folder.status_path.stat().st_mtime_ns
    except FileNotFoundError:
        # A beginning that runs share, or the import of JAX, comes before a run's own status.
        return RunState(folder.id, "starting" if folder.output_path.exists() else "waiting")
    if before is not None and before.has_ended and before.written == written:
        return before
    try:
        status = read_status(folder.status_path)
    except (ValueError, TypeError) as error:
        return RunState(folder.id, "unreadable", error=f"{folder.status_path}: {error}")
    records = _last_records(folder.metrics_path)
    left = None
    if status.state == "running" and status.max_steps:
        left = _seconds_for(records, status.max_steps - status.step)
    return RunState(
        name=folder.id,
        state=status.state,
        step=status.step,
        max_steps=status.max_steps,
        seconds=status.seconds,
        seconds_left=left,
        headline=_headline(records),
        error=status.error,
        written=written,
    )


def _last_records(path: Path) -> list[dict[str, Any]]:
    """The last lines of a metrics.jsonl, in order, past what is torn or being written."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().split(b"\n")
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # cut off by the seek, or torn
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _headline(records: Sequence[Mapping[str, Any]]) -> tuple[str, float] | None:
    for name in _HEADLINES:
        for record in reversed(records):
            if name in record:
                return name, float(record[name])
    return None


def _seconds_for(records: Sequence[Mapping[str, Any]], steps: int) -> float | None:
    """Seconds that so many steps take, at the pace of the last eight."""
    paces = [float(record[name]) for record in records for name in _STEP_SECONDS if name in record]
    return sum(paces[-8:]) / len(paces[-8:]) * steps if paces else None
