"""Intervals and tests for counts of right answers. Proportions are between 0 and 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

_Z = 1.959963984540054  # 97.5% quantile of the normal distribution: two-sided 95%


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

    `low` and `high` are its 95% interval, `p_value` is that of McNemar's exact test.
    """

    problems: int
    gained: int
    lost: int
    difference: float
    low: float
    high: float
    p_value: float


def paired_difference(before: Sequence[bool], after: Sequence[bool]) -> PairedDifference:
    """Compare two models' right answers, problem by problem.

    The interval is the adjusted Wald interval of Bonett and Price (2012), which holds for few
    problems and for shares near 0 and 1. Raises ValueError unless both have the same, positive,
    number of problems.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"cannot pair {len(before)} problems with {len(after)}")
    problems = len(before)
    gained = sum(new and not old for old, new in zip(before, after, strict=True))
    lost = sum(old and not new for old, new in zip(before, after, strict=True))
    up, down = (gained + 1) / (problems + 2), (lost + 1) / (problems + 2)
    half = _Z * sqrt((up + down - (up - down) ** 2) / (problems + 2))
    return PairedDifference(
        problems=problems,
        gained=gained,
        lost=lost,
        difference=(gained - lost) / problems,
        low=max(-1.0, up - down - half),
        high=min(1.0, up - down + half),
        p_value=mcnemar(gained, lost),
    )
