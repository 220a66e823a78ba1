"""Learning curves of all runs: aligned, smoothed, averaged over seeds and thinned out.

All runs of a metric stand in one matrix, runs x steps, with NaN where a run has no value.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from reasoning_lab.compare.comparison import ComparedRun, Comparison, Series
from reasoning_lab.compare.page.figures import PALETTE, SCALE
from reasoning_lab.compare.page.page_labels import short_label, short_names

_MOST_POINTS = 240
_MANY_RUNS = 40  # beyond, half the points, so that the page stays small
_MEMORY = 20  # the smoothing remembers a 20th of the longest curve
_MOST_METRICS = 24
_ENDS = ("_low", "_high")  # of intervals
_FIRST = (
    "eval/score",
    "eval/correct",
    "eval/reward",
    "reward/total",
    "rollout/correct",
    "train/loss",
    "eval/loss",
    "completion/length",
    "completion/truncated",
    "train/kl",
    "train/entropy",
    "groups/dead",
    "eval/well_formed",
    "train/grad_norm",
    "train/learning_rate",
)


def curves(comparison: Comparison) -> dict[str, Any] | None:
    """What curves.js draws, ready for JSON; None where no run has a metric.

    metrics: most wanted first, see `_metric`. runs: their names. settings: labels, values by axis,
    and the runs' places in `runs`. colour_by: the axis that tells settings apart at first, or "".
    """
    most = _MOST_POINTS if len(comparison.runs) <= _MANY_RUNS else _MOST_POINTS // 2
    metrics = [_metric(comparison, name, most) for name in _names(comparison.runs)]
    if not metrics:
        return None
    names = short_names(comparison.axes)
    rows = {run.name: row for row, run in enumerate(comparison.runs)}
    return {
        "metrics": metrics,
        "runs": list(rows),
        "settings": [
            {
                "label": short_label(setting, names),
                "values": dict(setting.values),
                "runs": [rows[run.name] for run in setting.runs],
            }
            for setting in comparison.settings
        ],
        "axes": [
            {
                "name": axis.name,
                "short": names[axis.name],
                "values": axis.values,
                "is_numeric": axis.is_numeric,
            }
            for axis in comparison.axes
        ],
        "colour_by": _colour_by(comparison),
        "palette": PALETTE,
        "scale": SCALE,
    }


def _colour_by(comparison: Comparison) -> str:
    """With many settings the axis that changes the metric most; "" for the setting itself."""
    if len(comparison.settings) <= len(PALETTE) or not comparison.axes:
        return ""
    if comparison.effects:
        return max(comparison.effects, key=lambda effect: abs(effect.difference)).axis
    return comparison.axes[0].name


def smoothing_memory(points: int) -> float:
    """Points that the smoothing remembers, for a metric whose longest curve has `points`."""
    return max(1.0, points / _MEMORY)


def smoothed(values: np.ndarray, memory: float) -> np.ndarray:
    """Exponential moving average along the last axis, without the pull of its start at zero.

    The average is divided by the sum of its weights (Adam's bias correction, Kingma and Ba 2015),
    so the first value is itself. NaN stays NaN and is skipped.

    Args:
        values: float[runs, T].
        memory: 1 / (1 - decay), in points; 1 changes nothing.
    """
    decay = 1 - 1 / memory
    result = np.full(values.shape, np.nan)
    total, weight = np.zeros(len(values)), np.zeros(len(values))
    for t in range(values.shape[1]):
        here = np.isfinite(values[:, t])
        total[here] = decay * total[here] + values[here, t]
        weight[here] = decay * weight[here] + 1
        result[here, t] = total[here] / weight[here]
    return result


def thinned(values: np.ndarray, most: int) -> np.ndarray:
    """float[N, T] to float[N, <= most]: means of as many neighbours everywhere, NaN skipped."""
    steps = values.shape[1]
    starts = np.linspace(0, steps, min(steps, most), endpoint=False).astype(int)
    totals = np.add.reduceat(np.nan_to_num(values), starts, axis=1)
    counts = np.add.reduceat(np.isfinite(values).astype(int), starts, axis=1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def _names(runs: Sequence[ComparedRun]) -> list[str]:
    """Names of metrics: the usual ones, components of the reward, domains, and others."""

    def rank(name: str) -> tuple[int, int, str]:
        if name in _FIRST:
            return 0, _FIRST.index(name), name
        if name.startswith("reward/"):
            return 1, 0, name
        return (2 if name.endswith(("/reward", "/correct")) else 3), 0, name

    names = {name for run in runs for name, series in run.series.items() if _finite(series).any()}
    return sorted((name for name in names if not name.endswith(_ENDS)), key=rank)[:_MOST_METRICS]


def _metric(comparison: Comparison, name: str, most: int) -> dict[str, Any]:
    """One metric at up to `most` steps.

    steps: [T]. raw, smooth: [runs, T], None where a run has no value; a run without the metric has
    no points at all. mean, low, high: [settings, T] of smoothed runs, of settings with several.
    """
    series = [run.series.get(name) for run in comparison.runs]
    steps, raw = _aligned(series)
    points = int(np.isfinite(raw).sum(axis=1).max())
    smooth = smoothed(raw, smoothing_memory(points))
    rows = {run.name: row for row, run in enumerate(comparison.runs)}
    seeds = [smooth[[rows[run.name] for run in setting.runs]] for setting in comparison.settings]
    return {
        "name": name,
        "memory": round(smoothing_memory(points), 1),
        "steps": np.rint(thinned(steps[None].astype(float), most)[0]).astype(int).tolist(),
        "raw": _listed(thinned(raw, most)),
        "smooth": _listed(thinned(smooth, most)),
        "mean": [_over_seeds(np.nanmean, values, most) for values in seeds],
        "low": [_over_seeds(np.nanmin, values, most) for values in seeds],
        "high": [_over_seeds(np.nanmax, values, most) for values in seeds],
    }


def _over_seeds(reduce: Any, values: np.ndarray, most: int) -> list[float | None]:
    """[seeds, T] to [<= most]; an empty list where fewer than two seeds have the metric."""
    if int(np.isfinite(values).any(axis=1).sum()) < 2:
        return []
    return _numbers(thinned(_silently(reduce, values)[None], most)[0])


def _aligned(series: Sequence[Series | None]) -> tuple[np.ndarray, np.ndarray]:
    """All steps at which any run has a finite value: int64[T]; values: float64[runs, T]."""
    kept = [
        (one.steps[_finite(one)], one.values[_finite(one)]) if one is not None else None
        for one in series
    ]
    steps = np.unique(np.concatenate([one[0] for one in kept if one is not None]))
    values = np.full((len(series), len(steps)), np.nan)
    for row, one in enumerate(kept):
        if one is not None:
            values[row, np.searchsorted(steps, one[0])] = one[1]
    return steps, values


def _finite(series: Series) -> np.ndarray:
    finite: np.ndarray = np.isfinite(series.values)
    return finite


def _silently(reduce: Any, values: np.ndarray) -> np.ndarray:
    """A nan-reduction over rows that gives NaN, and no warning, where there is nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(reduce(values, axis=0))


def _listed(rows: np.ndarray) -> list[list[float | None]]:
    """Lists with about four digits, None for NaN; an empty list for a row without any value."""
    return [_numbers(row) if np.isfinite(row).any() else [] for row in rows]


def _numbers(row: np.ndarray) -> list[float | None]:
    largest = np.nanmax(np.abs(row))
    digits = 3 - int(np.floor(np.log10(largest))) if largest > 0 else 0
    rounded = np.round(row, min(digits, 15))
    return [value if value == value else None for value in rounded.tolist()]
