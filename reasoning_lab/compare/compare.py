"""Runs side by side: from their folders to a verdict."""

from collections.abc import Sequence
from pathlib import Path

from reasoning_lab.compare.axes import differences, find_axes
from reasoning_lab.compare.comparison import Comparison
from reasoning_lab.compare.effects import find_effects
from reasoning_lab.compare.find import Found, Sweep, find_runs
from reasoning_lab.compare.folders import read_run
from reasoning_lab.compare.scores import choose_scoring
from reasoning_lab.compare.verdict import give_verdict

_MOST_NAMES = 3  # in the title


def compare(
    paths: Sequence[str | Path],
    runs_dir: str | Path = "runs",
    metric_name: str | None = None,
    *,
    lower_is_better: bool = False,
) -> Comparison:
    """Compare the runs in some folders, whatever state they are in.

    Args:
        paths: folders of sweeps and runs, folders that hold some, and ids in `runs_dir`.
        metric_name: "correct", "well_formed", "reward", "truncated" of the final evaluation, or a
            metric of metrics.jsonl, of which the last value counts; None: the score by which the
            lab chooses models.
        lower_is_better: of metrics whose name does not tell.

    Raises:
        ConfigError: there are no such runs, or none has the metric.
    """
    found = find_runs(paths, runs_dir)
    runs = tuple(map(read_run, found))
    scoring = choose_scoring(runs, metric_name, lower_is_better=lower_is_better)
    axes, places = find_axes(runs)
    findings = find_effects(runs, axes, places, scoring)
    return Comparison(
        title=_title(found),
        metric=scoring.metric,
        runs=runs,
        axes=axes,
        settings=findings.settings,
        effects=findings.effects,
        pairs=findings.pairs,
        differences=differences(runs),
        verdict=give_verdict(findings, runs, axes, scoring, _only_sweep(found)),
    )


def output_folder(paths: Sequence[str | Path], runs_dir: str | Path = "runs") -> Path:
    """Where a comparison is written unless told: into the sweep, if it is of a single one.

    Raises:
        ConfigError: there are no such runs.
    """
    sweep = _only_sweep(find_runs(paths, runs_dir))
    return Path("comparison") if sweep is None else sweep.path / "comparison"


def _only_sweep(found: Sequence[Found]) -> Sweep | None:
    """The sweep that all runs belong to."""
    sweeps = {one.sweep.path: one.sweep for one in found if one.sweep is not None}
    if len(sweeps) != 1 or any(one.sweep is None for one in found):
        return None
    return next(iter(sweeps.values()))


def _title(found: Sequence[Found]) -> str:
    names = dict.fromkeys(one.name if one.sweep is None else one.sweep.name for one in found)
    shown = list(names)[:_MOST_NAMES]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
