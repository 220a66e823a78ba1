"""What a stage tells a tracker, whichever tracker it is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, SupportsFloat

from reasoning_lab.tracking.specs import TrackingSpec
from reasoning_lab.tracking.weights_and_biases import wandb_tracker

Cell = str | int | float | bool | None


class Tracker(Protocol):
    """Where the records of one run go. Trouble there never stops the run."""

    def log(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Record metrics of one step."""

    def samples(self, step: int, rows: Sequence[Mapping[str, Cell]], name: str = "samples") -> None:
        """Record a table of at least one row; every row has the columns of the first."""

    def summary(self, values: Mapping[str, SupportsFloat]) -> None:
        """Record results that belong to the whole run."""


class NullTracker:
    """Records nothing."""

    def log(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        pass

    def samples(self, step: int, rows: Sequence[Mapping[str, Cell]], name: str = "samples") -> None:
        pass

    def summary(self, values: Mapping[str, SupportsFloat]) -> None:
        pass


@contextmanager
def open_tracker(
    spec: TrackingSpec,
    run_dir: Path,
    config: Mapping[str, Any],
    *,
    job_type: str,
    runs_dir: Path | None = None,
    resume_step: int | None = None,
    history: Sequence[Mapping[str, Any]] = (),
) -> Iterator[Tracker]:
    """A tracker for the run in the folder `run_dir`, finished with the block.

    Args:
        spec: whether and where to record.
        run_dir: the run's folder; its name becomes the name there.
        config: the resolved experiment, nested mappings of plain values.
        job_type: the stage, such as "sft".
        runs_dir: the folder of all runs, those of sweeps too, which share a wandb/ folder in it;
            None for the folder that the run's folder is in.
        resume_step: the step a restored checkpoint stands at, None for a run from the beginning.
        history: the records of the run's metrics.jsonl; those after `resume_step` are ignored.

    Raises:
        ConfigError: `tracking.mode=online` without a key, or a key that cannot be one.
    """
    if not spec.wandb:
        yield NullTracker()
        return
    with wandb_tracker(
        spec,
        run_dir,
        config,
        job_type=job_type,
        runs_dir=(runs_dir or run_dir.parent).resolve(),
        resume_step=resume_step or 0,
        history=history,
    ) as tracker:
        yield tracker
