"""Least squares for runs in blocks of one seed, balanced or not. NumPy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Fit:
    """A linear model of scores, as what it makes of the scores it is given.

    weights: float64[quantities, runs]; quantities are weights @ scores.
    residual: float64[runs, runs]; residuals are residual @ scores.
    freedom: residual degrees of freedom; 0 where nothing is left to estimate the noise from.
    estimable: bool[quantities]; False where the runs cannot tell a quantity from another.
    """

    weights: np.ndarray
    residual: np.ndarray
    freedom: int
    estimable: np.ndarray

    def variance(self, scores: np.ndarray, floor: float) -> float:
        """The residual variance, at least `floor`. Needs a freedom of 1 or more."""
        rest = self.residual @ scores
        return max(float(rest @ rest) / self.freedom, floor)


def blocks(settings: Sequence[int], seeds: Sequence[int]) -> list[int]:
    """The seeds, if runs of one seed can be compared as such; otherwise the same 0 for all runs.

    They can if seeds link all settings, and something is left to estimate the noise from. Otherwise
    what a seed does is part of the noise, which is then larger but no less true.
    """
    design = np.hstack([_one_hot(settings), _one_hot(seeds)[:, 1:]])
    is_linked = int(np.linalg.matrix_rank(design)) == design.shape[1]
    return list(seeds) if is_linked and len(seeds) > design.shape[1] else [0] * len(seeds)


def fit_means(settings: Sequence[int], seeds: Sequence[int]) -> Fit:
    """Means of the settings in the additive model score ~ setting + seed.

    Scheffé, The Analysis of Variance (1959), chapter 4; runs may be missing. The means are those
    over all seeds ("least squares means"; Searle, Speed and Milliken 1980, The American
    Statistician 34), which are the plain ones where none is missing.

    Args:
        settings: of each run, 0 to S - 1, each at least once. seeds: of each run, as `blocks` has
            them.
    """
    one_hot, of_seeds = _one_hot(settings), _one_hot(seeds)
    count, many = one_hot.shape[1], of_seeds.shape[1]
    design = np.hstack([one_hot, of_seeds[:, 1:]])
    return _fit(design, np.hstack([np.eye(count), np.full((count, many - 1), 1 / many)]))


def fit_effects(levels: Sequence[Sequence[int]], seeds: Sequence[int]) -> Fit:
    """Main effects: of each axis, what each of its values adds to what the first one gives.

    The model is score ~ axis + axis + … + seed, without interactions, which count as noise. The
    quantities are, axis by axis, those of values 1, 2, …

    Args:
        levels: for each axis, of each run the number of its value, from 0. seeds: of each run.
    """
    of_axes = [_one_hot(axis)[:, 1:] for axis in levels]
    effects = np.hstack(of_axes)
    design = np.hstack([np.ones((len(seeds), 1)), effects, _one_hot(seeds)[:, 1:]])
    count = effects.shape[1]
    wanted = np.hstack(
        [np.zeros((count, 1)), np.eye(count), np.zeros((count, design.shape[1] - 1 - count))]
    )
    return _fit(design, wanted)


def _fit(design: np.ndarray, wanted: np.ndarray) -> Fit:
    """Quantities wanted @ coefficients, where they follow from the design."""
    inverse = np.linalg.pinv(design)
    projection = design @ inverse
    freedom = design.shape[0] - round(float(np.trace(projection)))
    follows = np.abs(wanted @ (inverse @ design) - wanted).max(axis=1, initial=0.0) < _TOLERANCE
    return Fit(wanted @ inverse, np.eye(len(design)) - projection, freedom, follows)


def _one_hot(numbers: Sequence[int]) -> np.ndarray:
    values, places = np.unique(np.asarray(numbers), return_inverse=True)
    return np.eye(len(values))[places]
