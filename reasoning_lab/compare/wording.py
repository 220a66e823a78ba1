"""Scores, differences and names as the table, the verdict and the page spell them."""

from collections.abc import Sequence
from math import isfinite

from reasoning_lab.compare.comparison import Estimate, Metric

_MOST_NAMES = 4  # in a sentence


def score_text(value: float, metric: Metric) -> str:
    """ "61.2%" of a share, otherwise "0.413"."""
    return f"{100 * value:.1f}%" if metric.is_share else _number(value)


def difference_text(value: float, metric: Metric) -> str:
    """ "+12.0 points" of a share, otherwise "+0.041"."""
    return f"{100 * value:+.1f} points" if metric.is_share else _number(value, "+")


def interval_text(low: float, high: float, metric: Metric) -> str:
    """ "[55.1–67.3]" in percent of a share, otherwise "[0.39–0.43]"; "" without bounds.

    A share is not said to be below 0 or above 1.
    """
    if not (isfinite(low) and isfinite(high)):
        return ""
    if metric.is_share:
        return f"[{100 * max(low, 0.0):.1f}–{100 * min(high, 1.0):.1f}]"
    return f"[{_number(low)} to {_number(high)}]"


def difference_interval_text(low: float, high: float, metric: Metric) -> str:
    """ "+2.1 to +9.0" in points of a share; "" without bounds."""
    if not (isfinite(low) and isfinite(high)):
        return ""
    if metric.is_share:
        return f"{100 * max(low, -1.0):+.1f} to {100 * min(high, 1.0):+.1f}"
    return f"{_number(low, '+')} to {_number(high, '+')}"


def _number(value: float, sign: str = "") -> str:
    """Three decimals, or three digits of what is too small or too large for these."""
    return f"{value:{sign}.{'3f' if 0.01 <= abs(value) < 100 or value == 0 else '3g'}}"


def estimate_text(estimate: Estimate | None, metric: Metric) -> str:
    """A score with its interval; "–" without one."""
    if estimate is None:
        return "–"
    interval = interval_text(estimate.low, estimate.high, metric)
    return f"{score_text(estimate.mean, metric)} {interval}".strip()


def in_a_row(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"; of many only the first, and how many others there are."""
    if len(names) > _MOST_NAMES:
        shown = list(names[: _MOST_NAMES - 1])
        return f"{', '.join(shown)} and {len(names) - len(shown)} others"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))


def counted(count: int, noun: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
