"""Charts of the final metric by setting: with intervals, against all axes, against time."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from reasoning_lab.compare.comparison import Axis, Comparison, Metric, Setting
from reasoning_lab.compare.page.figures import (
    ACCENT,
    MOST_VALUES,
    PLAIN,
    SCALE,
    SEED,
    Figure,
    drawn_interval,
    scale,
    score_axis,
    score_title,
    scored,
    seen_values,
)
from reasoning_lab.compare.page.page_labels import for_plotly, short_label, short_names
from reasoning_lab.compare.wording import estimate_text, score_text

MOST_ROWS = 40
_LONGEST_VALUE = 18  # characters
_ASIDE = 0.12  # half the width of a bundle of lines, in steps between values


def score_chart(comparison: Comparison) -> Figure | None:
    """The final metric of each setting with its interval and its seeds, best at the top.

    None for fewer than two settings, whose numbers the table tells.
    """
    settings, names = scored(comparison)[:MOST_ROWS], short_names(comparison.axes)
    if len(settings) < 2:
        return None
    seeds_x, seeds_y, seeds_text = [], [], []
    for row, setting in enumerate(settings):
        for seed, score in setting.scores.items() if len(setting.scores) > 1 else ():
            seeds_x.append(score)
            seeds_y.append(row)
            about = f"{setting.label}, seed {seed}: {score_text(score, comparison.metric)}"
            seeds_text.append(for_plotly(about))
    top = set(comparison.verdict.contenders) | {comparison.verdict.winner}
    rows = list(range(len(settings)))
    estimates = {
        "type": "scatter",
        "mode": "markers",
        "x": [setting.estimate.mean for setting in settings if setting.estimate],
        "y": rows,
        "marker": {
            "size": 11,
            "color": [ACCENT if setting.label in top else PLAIN for setting in settings],
        },
        "error_x": _whiskers(comparison.metric, settings),
        "hoverinfo": "text",
        "hovertext": [for_plotly(_about(comparison.metric, setting)) for setting in settings],
    }
    seeds = {
        "type": "scatter",
        "mode": "markers",
        "x": seeds_x,
        "y": seeds_y,
        "marker": {"size": 6, "color": SEED, "opacity": 0.8},
        "hoverinfo": "text",
        "hovertext": seeds_text,
    }
    layout = {
        "height": 90 + 30 * len(settings),
        "xaxis": score_axis(comparison.metric),
        "yaxis": {
            "tickvals": rows,
            "ticktext": [for_plotly(short_label(setting, names), 60) for setting in settings],
            "range": [len(rows) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
        },
    }
    return {"data": [estimates, seeds], "layout": layout, "rows": True}


def parallel_chart(comparison: Comparison) -> Figure | None:
    """One line for each setting through its values to its score; needs 2 axes and 3 settings."""
    settings = scored(comparison)
    axes = [axis for axis in comparison.axes if len(seen_values(axis, settings)) > 1]
    if len(axes) < 2 or len(settings) < 3:
        return None
    names = short_names(comparison.axes)
    dimensions = [_dimension(axis, names[axis.name], settings) for axis in axes]
    left = max(map(len, seen_values(axes[0], settings)))
    scores = [setting.estimate.mean for setting in settings if setting.estimate]
    dimensions.append(
        {
            "label": for_plotly(score_title(comparison.metric)),
            "values": scores,
            "tickformat": ".1%" if comparison.metric.is_share else ".4~g",
        }
    )
    line = {
        "color": scores,
        "colorscale": [[at / (len(SCALE) - 1), colour] for at, colour in enumerate(SCALE)],
        "reversescale": not comparison.metric.higher_is_better,
    }
    return {
        "data": [{"type": "parcoords", "line": line, "dimensions": dimensions}],
        "layout": {
            "height": 380,
            "margin": {"l": 36 + 7 * min(left, _LONGEST_VALUE), "r": 72, "t": 56, "b": 28},
        },
    }


def minutes_of(setting: Setting) -> float:
    """Device-minutes of one run of a setting: the mean over its runs that have a score."""
    minutes = [run.device_minutes for run in setting.runs if run.seed in setting.scores]
    return fmean(minutes or [0.0])


def pareto_front(comparison: Comparison) -> list[Setting]:
    """Settings that no other beats at the same or less time, cheapest first."""
    sign = 1 if comparison.metric.higher_is_better else -1
    worth = [(s, sign * s.estimate.mean) for s in scored(comparison) if s.estimate]
    front: list[Setting] = []
    best = float("-inf")
    for setting, value in sorted(worth, key=lambda item: (minutes_of(item[0]), -item[1])):
        if value > best:
            front.append(setting)
            best = value
    return front


def cost_chart(comparison: Comparison) -> Figure | None:
    """Score against device-minutes of a run; the front is joined and numbered.

    None where all took the same time.
    """
    settings, front = scored(comparison), pareto_front(comparison)
    minutes = [minutes_of(setting) for setting in settings]
    if len(set(minutes)) < 2:
        return None
    on_front = {setting.label for setting in front}
    others = [setting for setting in settings if setting.label not in on_front]
    traces = [
        _cost_trace(comparison.metric, others, {"mode": "markers"}, PLAIN),
        _cost_trace(
            comparison.metric,
            front,
            {
                "mode": "lines+markers+text",
                "line": {"shape": "hv", "color": ACCENT, "width": 1.5, "dash": "dot"},
                "text": [str(number) for number in range(1, len(front) + 1)],
                "textposition": "top left",
            },
            ACCENT,
        ),
    ]
    layout = {
        "xaxis": {
            "title": {"text": "device-minutes of one run"},
            "type": scale(minutes),
            "zeroline": False,
        },
        "yaxis": score_axis(comparison.metric),
    }
    return {"data": traces, "layout": layout}


def _cost_trace(
    metric: Metric, settings: Sequence[Setting], look: Mapping[str, Any], colour: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": [minutes_of(setting) for setting in settings],
        "y": [setting.estimate.mean for setting in settings if setting.estimate],
        "marker": {"size": 10, "color": colour},
        "hoverinfo": "text",
        "hovertext": [
            for_plotly(f"{_about(metric, setting)}, {minutes_of(setting):.1f} device-minutes")
            for setting in settings
        ],
        **look,
    }


def _whiskers(metric: Metric, settings: Sequence[Setting]) -> dict[str, Any]:
    estimates = [setting.estimate for setting in settings if setting.estimate]
    lengths = [drawn_interval(e.low, e.mean, e.high, metric) for e in estimates]
    return {
        "type": "data",
        "symmetric": False,
        "array": [above for _, above in lengths],
        "arrayminus": [below for below, _ in lengths],
        "color": PLAIN,
        "thickness": 1.6,
        "width": 5,
    }


def _about(metric: Metric, setting: Setting) -> str:
    return f"{setting.label}: {estimate_text(setting.estimate, metric)}"


def _dimension(axis: Axis, name: str, settings: Sequence[Setting]) -> dict[str, Any]:
    """An axis of the chart; lines through the same value lie beside each other, best on top."""
    values = [setting.values.get(axis.name) for setting in settings]
    seen = seen_values(axis, settings)
    if axis.is_numeric and len(seen) > MOST_VALUES:
        numbers = [float(value) if value is not None else None for value in values]
        return {"label": for_plotly(name, 24), "values": numbers}
    places = {value: place for place, value in enumerate(seen)}
    aside = [_ASIDE * (1 - 2 * row / max(1, len(values) - 1)) for row in range(len(values))]
    return {
        "label": for_plotly(name, 24),
        "values": [
            places[value] + shift if value is not None else None
            for value, shift in zip(values, aside, strict=True)
        ],
        "tickvals": list(places.values()),
        "ticktext": [for_plotly(value, _LONGEST_VALUE) for value in seen],
        "range": [-_ASIDE, len(places) - 1 + _ASIDE],
    }
