"""What settings and single values of an axis are worth, as far as the runs can tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import inf, sqrt

import numpy as np

from reasoning_lab.compare.cells import Cells, settings_of, sort_into_cells
from reasoning_lab.compare.comparison import (
    Axis,
    Basis,
    ComparedRun,
    Effect,
    Estimate,
    Pair,
    Setting,
)
from reasoning_lab.compare.inference import (
    LEVEL,
    Problems,
    Tested,
    bonferroni_t,
    mean_half_widths,
    over_problems,
    problems_needed,
    replicates_needed,
    standard_error,
    tukey_kramer,
    untestable,
)
from reasoning_lab.compare.linear import Fit, fit_effects
from reasoning_lab.compare.scores import Scoring
from reasoning_lab.evaluation.statistics import wilson_interval

_NOTHING = 1e-12  # differences below it are rounding


@dataclass(frozen=True)
class Findings:
    """settings: best first, those without a score last.

    basis: None where nothing says how much of the differences is noise.
    inseparable: axes whose effect the runs cannot tell from that of others.
    same_problems: whether runs of one seed answered the same; otherwise scores say little.
    """

    settings: tuple[Setting, ...]
    effects: tuple[Effect, ...]
    pairs: tuple[Pair, ...]
    basis: Basis | None
    inseparable: tuple[str, ...]
    same_problems: bool


def find_effects(
    runs: Sequence[ComparedRun],
    axes: Sequence[Axis],
    places: Mapping[str, Mapping[str, str]],
    scoring: Scoring,
) -> Findings:
    """Estimates of settings, effects of axes, and all pairs of settings.

    Args:
        places: by run, its value of each axis.
    """
    settings = settings_of(runs, axes, places, scoring)
    scored = [setting for setting in settings if setting.scores]
    unscored = tuple(setting for setting in settings if not setting.scores)
    if not scored:
        return Findings(unscored, (), (), None, (), same_problems=True)
    cells = sort_into_cells(scored, scoring)
    means = cells.means.weights @ cells.scores
    estimated = _estimated(scored, means, cells)
    ranked = np.argsort(-means if scoring.metric.higher_is_better else means, kind="stable")
    effects, inseparable = _effects(scored, axes, cells)
    return Findings(
        settings=(*(estimated[place] for place in ranked), *unscored),
        effects=effects,
        pairs=_pairs(scored, ranked.tolist(), cells),
        basis=cells.basis,
        inseparable=inseparable,
        same_problems=cells.same_problems,
    )


def _estimated(settings: Sequence[Setting], means: np.ndarray, cells: Cells) -> list[Setting]:
    """The settings with their means (float64[settings]) and 95% intervals."""
    if cells.basis == "seeds":
        half = mean_half_widths(
            _errors(cells.means.weights, cells.means, cells), cells.means.freedom
        )
        low, high = means - half, means + half
    elif cells.problems is not None:
        low, high = _intervals_over_problems(cells.problems)
    else:
        low, high = np.full(len(means), -inf), np.full(len(means), inf)
    return [
        replace(one, estimate=Estimate(float(mean), float(start), float(end), len(one.scores)))
        for one, mean, start, end in zip(settings, means, low, high, strict=True)
    ]


def _errors(weights: np.ndarray, fit: Fit, cells: Cells) -> np.ndarray:
    """Standard errors of weights @ scores, with the noise that the model leaves."""
    variance = fit.variance(cells.scores, cells.floor)
    return np.asarray(np.sqrt(variance * (weights**2).sum(axis=1)))


def _intervals_over_problems(problems: Problems) -> tuple[np.ndarray, np.ndarray]:
    """95% intervals of single models: Wilson's of shares, otherwise Student's."""
    means = problems.values @ problems.weights
    if np.isin(problems.values, (0.0, 1.0)).all():
        count = problems.count
        ends = np.array([wilson_interval(round(mean * count), count) for mean in means])
        return np.minimum(ends[:, 0], means), np.maximum(ends[:, 1], means)
    half = mean_half_widths(standard_error(problems.values, problems), problems.count - 1)
    return means - half, means + half


def _pairs(settings: Sequence[Setting], ranked: Sequence[int], cells: Cells) -> tuple[Pair, ...]:
    """All pairs, the better one first."""
    places = list(combinations(ranked, 2))
    if not places:
        return ()
    of_means = cells.means.weights
    weights = np.array([of_means[better] - of_means[other] for better, other in places])
    if cells.basis == "seeds":
        tested, needed = _pairs_over_seeds(weights, settings, places, cells)
    elif cells.problems is not None:
        tested, needed = _pairs_over_problems(weights, cells.problems)
    else:
        tested, needed = untestable(weights @ cells.scores), [None] * len(places)
    return tuple(
        Pair(
            settings[better].label,
            settings[other].label,
            *_numbers(tested, row),
            cells.basis or "seeds",  # which are missing
            None if tested.p_value[row] < LEVEL else needed[row],
        )
        for row, (better, other) in enumerate(places)
    )


def _pairs_over_seeds(
    weights: np.ndarray,
    settings: Sequence[Setting],
    places: Sequence[tuple[int, int]],
    cells: Cells,
) -> tuple[Tested, list[int | None]]:
    """Tukey's test of all pairs, and the seeds that each would need."""
    fit, many = cells.means, len(settings)
    errors = _errors(weights, fit, cells)
    tested = tukey_kramer(weights @ cells.scores, errors, many, fit.freedom)
    spread = sqrt(fit.variance(cells.scores, cells.floor))
    have = [min(len(settings[place].scores) for place in pair) for pair in places]
    return tested, [
        replicates_needed(size, spread, many, count) if abs(size) > _NOTHING else None
        for size, count in zip(tested.difference, have, strict=True)
    ]


def _pairs_over_problems(
    weights: np.ndarray, problems: Problems
) -> tuple[Tested, list[int | None]]:
    """Paired tests of all pairs, and the problems that each would need."""
    tested = over_problems(problems, weights, holm=True)
    errors = standard_error(weights @ problems.values, problems)
    return tested, [
        problems_needed(size, error, len(weights), problems.count) if abs(size) > _NOTHING else None
        for size, error in zip(tested.difference, errors, strict=True)
    ]


def _effects(
    settings: Sequence[Setting], axes: Sequence[Axis], cells: Cells
) -> tuple[tuple[Effect, ...], tuple[str, ...]]:
    """Each value of an axis against its first one; and the axes that cannot be told apart."""
    values = {
        axis.name: [v for v in axis.values if any(s.values[axis.name] == v for s in settings)]
        for axis in axes
    }
    names = [axis for axis in values if len(values[axis]) > 1]
    if not names:
        return (), ()
    levels = [
        [values[axis].index(settings[number].values[axis]) for number in cells.settings]
        for axis in names
    ]
    fit = fit_effects(levels, cells.seeds)
    wanted = [(axis, value) for axis in names for value in values[axis][1:]]
    lost = {axis for (axis, _), can in zip(wanted, fit.estimable, strict=True) if not can}
    kept = [row for row, (axis, _) in enumerate(wanted) if axis not in lost]
    inseparable = tuple(axis for axis in names if axis in lost)
    if not kept:
        return (), inseparable
    tested = _tested_effects(fit.weights[kept], fit, cells)
    effects = []
    for row, place in enumerate(kept):
        axis, value = wanted[place]
        reference = values[axis][0]
        effects.append(
            Effect(axis, value, reference, *_numbers(tested, row), cells.basis or "seeds")
        )
    return tuple(effects), inseparable


def _tested_effects(weights: np.ndarray, fit: Fit, cells: Cells) -> Tested:
    if cells.basis == "seeds":
        errors = _errors(weights, fit, cells)
        return bonferroni_t(weights @ cells.scores, errors, fit.freedom)
    if cells.problems is not None:
        return over_problems(cells.problems, weights, holm=False)
    return untestable(weights @ cells.scores)


def _numbers(tested: Tested, row: int) -> tuple[float, float, float, float]:
    """Difference, low, high, p-value."""
    columns = (tested.difference, tested.low, tested.high, tested.p_value)
    difference, low, high, p_value = (float(column[row]) for column in columns)
    return 0.0 if abs(difference) < _NOTHING else difference, low, high, p_value
