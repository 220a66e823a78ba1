"""What all figures of the page share.

A figure holds data and layout alone, as plotly.js reads them. Colours of text and grid, which
depend on light and dark, are filled in by page.js; "rows" tells it that labels belong above their
rows on a narrow screen.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from reasoning_lab.compare.comparison import Axis, Comparison, Metric, Setting
from reasoning_lab.compare.page.page_labels import for_plotly

Figure = dict[str, Any]

# Paul Tol's bright scheme: told apart with any kind of colour blindness, on light and on dark
PALETTE = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#999999")
ACCENT, SEED, PLAIN = PALETTE[0], PALETTE[1], PALETTE[6]
SCALE = ("#3b528b", "#21918c", "#5ec962", "#d9c02b")  # of viridis, without its darkest
_LONGEST_TITLE = 28  # characters
MOST_VALUES = 12  # of an axis that is drawn value by value


def scored(comparison: Comparison) -> list[Setting]:
    """Settings with an estimate, best first."""
    return [setting for setting in comparison.settings if setting.estimate is not None]


def seen_values(axis: Axis, settings: Sequence[Setting]) -> list[str]:
    """The axis's values that these settings have, in its order."""
    seen = {setting.values.get(axis.name) for setting in settings}
    return [value for value in axis.values if value in seen]


def drawn_interval(low: float, mean: float, high: float, metric: Metric) -> tuple[float, float]:
    """Lengths of the whiskers below and above a mean, 0 where nothing bounds the interval.

    A share is not drawn below 0 or above 1.
    """
    if not (isfinite(low) and isfinite(high)):
        return 0.0, 0.0
    if metric.is_share:
        low, high = max(low, 0.0), min(high, 1.0)
    return mean - low, high - mean


def score_title(metric: Metric) -> str:
    """What the metric is called where there is little room."""
    return metric.label if len(metric.label) <= _LONGEST_TITLE else "score"


def score_axis(metric: Metric) -> dict[str, Any]:
    return {
        "title": {"text": for_plotly(score_title(metric))},
        "tickformat": "~%" if metric.is_share else "~g",
        "zeroline": False,
    }


def scale(numbers: Sequence[float]) -> str:
    """Logarithmic where positive numbers span more than a factor of 20."""
    return "log" if min(numbers) > 0 and max(numbers) > 20 * min(numbers) else "linear"
