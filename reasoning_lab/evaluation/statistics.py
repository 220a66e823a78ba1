"""Intervals and tests for shares, means and paired models. Shares are between 0 and 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, pow, sqrt
from statistics import fmean, stdev

import numpy as np

_Z = 1.959963984540054  # 97.5% quantile of the normal distribution: two-sided 95%
_Z_POWER = 0.8416212335729143  # its 80% quantile: a power of 80%


def wilson_interval(count: int, denominator: int) -> tuple[float, float]:
    """95% interval for a proportion (Wilson 1927); (0, 1) where nothing was counted."""
    if denominator == 0:
        return 0.0, 1.0
    share, z2 = count / denominator, _Z**2
    centre = (share + z2 / (2 * denominator)) / (1 + z2 / denominator)
    half = sqrt(share * (1 - share) / denominator + z2 / (4 * denominator**2))
    half *= _Z / (1 + z2 / denominator)
    # At the ends the bound is exact, and rounding must not move it.
    low = 0.0 if count == 0 else centre - half
    high = 1.0 if count == denominator else centre + half
    return low, high


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval for a mean (Student 1908); without bounds for fewer than 2 values."""
    if len(values) < 2:
        return -inf, inf
    half = _t_quantile(len(values) - 1) * stdev(values) / sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def _t_quantile(freedom: int) -> float:
    """97.5% quantile of Student's t (Abramowitz and Stegun 26.7.5).

    Right to 1% from 2 degrees of freedom on; 11% too small for 1.
    """
    z = _Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / pow(freedom, power) for power, term in enumerate(terms))


def bootstrap_interval(
    values: Sequence[float], *, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """95% percentile interval for a mean over problems (Efron 1979), the same for the same seed.

    Has no width where all values are equal, whatever their number. Raises ValueError without any.
    """
    if not values:
        raise ValueError("no values to resample")
    distinct, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
    # How often each value turns up in a resample is all that its mean depends on.
    draws = np.random.default_rng(seed).multinomial(
        len(values), counts / len(values), size=resamples
    )
    low, high = np.quantile(draws @ distinct / len(values), (0.025, 0.975))
    return float(low), float(high)


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value that problems won and lost are equally likely (McNemar 1947)."""
    changed = gained + lost
    tail = ways = 1
    for wins in range(min(gained, lost)):
        ways = ways * (changed - wins) // (wins + 1)
        tail += ways
    p_value: float = 2 * tail / 2**changed
    return min(1.0, p_value)


@dataclass(frozen=True)
class PairedDifference:
    """Two models on the same problems: `difference` is the second's share right less the first's.

    `low` and `high` are its adjusted Wald interval, `bootstrap_low` and `bootstrap_high` that of
    resampled problems, both 95%; `p_value` is that of McNemar's exact test.
    """

    problems: int
    gained: int
    lost: int
    difference: float
    low: float
    high: float
    bootstrap_low: float
    bootstrap_high: float
    p_value: float


def paired_difference(before: Sequence[bool], after: Sequence[bool]) -> PairedDifference:
    """Compare two models' right answers, problem by problem.

    The adjusted Wald interval of Bonett and Price (2012) holds for few problems and for shares
    near 0 and 1, where the bootstrap is too narrow: it knows no problem but those it was given.
    Raises ValueError unless both have the same, positive, number of problems.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"cannot pair {len(before)} problems with {len(after)}")
    problems = len(before)
    gained = sum(new and not old for old, new in zip(before, after, strict=True))
    lost = sum(old and not new for old, new in zip(before, after, strict=True))
    up, down = (gained + 1) / (problems + 2), (lost + 1) / (problems + 2)
    half = _Z * sqrt((up + down - (up - down) ** 2) / (problems + 2))
    changes = [int(new) - int(old) for old, new in zip(before, after, strict=True)]
    bootstrap_low, bootstrap_high = bootstrap_interval(changes)
    return PairedDifference(
        problems=problems,
        gained=gained,
        lost=lost,
        difference=(gained - lost) / problems,
        low=max(-1.0, up - down - half),
        high=min(1.0, up - down + half),
        bootstrap_low=bootstrap_low,
        bootstrap_high=bootstrap_high,
        p_value=mcnemar(gained, lost),
    )


def problems_needed(change: PairedDifference) -> int | None:
    """Problems with which McNemar's test finds a difference of this size, if it is the true one.

    For p < 0.05 with a power of 80% (Connor 1987, Biometrics 43, 207-211). None where the
    difference is zero: no number would do.
    """
    if change.gained == change.lost:
        return None
    changed = (change.gained + change.lost) / change.problems
    spread = _Z * sqrt(changed) + _Z_POWER * sqrt(changed - change.difference**2)
    return ceil((spread / change.difference) ** 2)
