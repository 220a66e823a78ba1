"""Charts of the final metric against one key of the config, and against two."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from reasoning_lab.compare.comparison import Axis, Comparison, Metric
from reasoning_lab.compare.page.figures import (
    ACCENT,
    MOST_VALUES,
    SEED,
    Figure,
    drawn_interval,
    scale,
    score_axis,
    scored,
    seen_values,
)
from reasoning_lab.compare.page.page_labels import for_plotly
from reasoning_lab.compare.wording import score_text
from reasoning_lab.evaluation.statistics import mean_interval

_MOST_HEAT_AXES = 4
_HEAT = [[0, "#f1f6fb"], [1, "#86b0d8"]]  # light enough for dark text throughout

_Run = tuple[str, float, str]
"""A run's value on the axis, its score, and what it is."""


def axis_charts(comparison: Comparison) -> dict[str, Figure]:
    """By axis: every run's score against its value, and means over all other axes.

    Left out where each value is that of a single setting, unless values are numbers or there is no
    other axis: nothing would be averaged.
    """
    charts = {}
    settings = scored(comparison)
    for axis in comparison.axes:
        runs = [
            (setting.values[axis.name], score, f"{setting.label}, seed {seed}")
            for setting in settings
            for seed, score in setting.scores.items()
            if axis.name in setting.values
        ]
        values = len(seen_values(axis, settings))
        is_shared = values < len(settings) or axis.is_numeric or len(comparison.axes) == 1
        if values > 1 and is_shared:
            is_continuous = axis.is_numeric and values > MOST_VALUES
            chart = _against_numbers if is_continuous else _against_values
            charts[axis.name] = chart(comparison, axis, runs)
    return charts


def _against_values(comparison: Comparison, axis: Axis, runs: Sequence[_Run]) -> Figure:
    metric = comparison.metric
    by_value = {
        value: scores
        for value in axis.values
        if (scores := [score for run_value, score, _ in runs if run_value == value])
    }
    places = {value: place for place, value in enumerate(by_value)}
    means = [fmean(scores) for scores in by_value.values()]
    whiskers = [
        drawn_interval(low, mean, high, metric)
        for mean, (low, high) in zip(means, map(mean_interval, by_value.values()), strict=True)
    ]
    mean_trace = {
        "type": "scatter",
        "mode": "lines+markers" if axis.is_numeric else "markers",
        "x": list(places.values()),
        "y": means,
        "line": {"color": ACCENT, "width": 2},
        "marker": {"size": 10, "color": ACCENT},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [above for _, above in whiskers],
            "arrayminus": [below for below, _ in whiskers],
            "color": ACCENT,
            "thickness": 1.6,
            "width": 6,
        },
        "hoverinfo": "text",
        "hovertext": [
            for_plotly(f"{value}: {score_text(mean, metric)}, mean of {len(by_value[value])}")
            for value, mean in zip(by_value, means, strict=True)
        ],
    }
    layout = {
        "xaxis": {
            **_value_axis(axis.name, list(places)),
            "range": [-0.5, len(places) - 0.5],
        },
        "yaxis": {**score_axis(metric), "range": _around([score for _, score, _ in runs], metric)},
    }
    spread = [0.16 + 0.03 * (number % 4) for number in range(len(runs))]  # beside the mean
    dots = _run_dots(
        metric,
        [places[value] + aside for (value, _, _), aside in zip(runs, spread, strict=True)],
        runs,
    )
    return {"data": [dots, mean_trace], "layout": layout}


def _against_numbers(comparison: Comparison, axis: Axis, runs: Sequence[_Run]) -> Figure:
    numbers = [float(value) for value, _, _ in runs]
    layout = {
        "xaxis": {"title": {"text": for_plotly(axis.name)}, "type": scale(numbers)},
        "yaxis": score_axis(comparison.metric),
    }
    return {"data": [_run_dots(comparison.metric, numbers, runs, size=8)], "layout": layout}


def heat_maps(comparison: Comparison) -> dict[str, Figure]:
    """By a pair of axes: mean score and number of runs of each pair of values.

    Pairs of which more than a third is empty are left out.
    """
    settings = scored(comparison)
    values = {axis.name: seen_values(axis, settings) for axis in comparison.axes}
    axes = [name for name, seen in values.items() if 2 <= len(seen) <= MOST_VALUES]
    maps = {}
    for across, up in combinations(axes[:_MOST_HEAT_AXES], 2):
        cells: dict[tuple[str, str], list[float]] = {}
        for one in settings:
            if across in one.values and up in one.values:
                cell = cells.setdefault((one.values[across], one.values[up]), [])
                cell.extend(one.scores.values())
        if 3 * len(cells) >= 2 * len(values[across]) * len(values[up]):
            title = f"{across} and {up}"
            maps[title] = _heat_map(
                comparison.metric, (across, values[across]), (up, values[up]), cells
            )
    return maps


def _heat_map(
    metric: Metric,
    across: tuple[str, Sequence[str]],
    up: tuple[str, Sequence[str]],
    cells: Mapping[tuple[str, str], Sequence[float]],
) -> Figure:
    """across, up: an axis's name and values. cells: scores of runs by a value of each."""
    scores = [[cells.get((x, y)) for x in across[1]] for y in up[1]]
    means = [[fmean(cell) if cell else None for cell in row] for row in scores]
    texts = [
        [f"{score_text(fmean(cell), metric)}<br>n = {len(cell)}" if cell else "" for cell in row]
        for row in scores
    ]
    heat = {
        "type": "heatmap",
        "z": means,
        "text": texts,
        "texttemplate": "%{text}",
        "textfont": {"color": "#1f2937"},
        "hoverinfo": "text",
        "colorscale": _HEAT,
        "reversescale": not metric.higher_is_better,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
    layout = {
        "height": 150 + 56 * len(up[1]),
        "xaxis": _value_axis(*across),
        "yaxis": _value_axis(*up),
    }
    return {"data": [heat], "layout": layout}


def _run_dots(
    metric: Metric, x: Sequence[float], runs: Sequence[_Run], size: int = 6
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(x),
        "y": [score for _, score, _ in runs],
        "marker": {"size": size, "color": SEED, "opacity": 0.7},
        "hoverinfo": "text",
        "hovertext": [for_plotly(f"{about}: {score_text(y, metric)}") for _, y, about in runs],
    }


def _value_axis(name: str, values: Sequence[str]) -> dict[str, Any]:
    """Values at 0, 1, 2, … with their names as ticks."""
    return {
        "title": {"text": for_plotly(name)},
        "tickvals": list(range(len(values))),
        "ticktext": [for_plotly(value, 18) for value in values],
        "showgrid": False,
        "zeroline": False,
    }


def _around(scores: Sequence[float], metric: Metric) -> list[float]:
    """A range in which runs can be told apart, even if an interval over two of them is huge."""
    room = 0.4 * (max(scores) - min(scores)) or 0.05
    low, high = min(scores) - room, max(scores) + room
    return [max(low, -0.02), min(high, 1.02)] if metric.is_share else [low, high]
