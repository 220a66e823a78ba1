"""Bars of the final evaluation by domain: the best settings and the models before training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from reasoning_lab.compare.comparison import Answer, Comparison
from reasoning_lab.compare.page.figures import PALETTE, Figure, scored
from reasoning_lab.compare.page.page_labels import for_plotly, short_label, short_names
from reasoning_lab.evaluation.statistics import wilson_interval

_BEST = 3
_GREYS = ("#999999", "#c3c9d2")  # of models before training
_WHISKER = "#6b7280"


@dataclass(frozen=True, eq=False)  # a key of dicts
class _Model:
    name: str
    colour: str
    answers: Sequence[Answer]


@dataclass(frozen=True)
class _Bar:
    """One domain of one model. low, high: 95% interval of a share right, None for rewards."""

    domain: str
    mean: float
    problems: int
    low: float | None = None
    high: float | None = None


def domain_charts(comparison: Comparison) -> dict[str, Figure]:
    """Share right by domain, and mean reward by domain where nothing decides what is right."""
    models = _models(comparison)
    rights = {model: list(_shares_right(model.answers)) for model in models}
    decided = {bar.domain for bars in rights.values() for bar in bars}
    rewards = {model: list(_rewards(model.answers, decided)) for model in models}
    charts = {}
    if decided:
        charts["Share right"] = _figure(rights, "share right", "~%")
    if any(rewards.values()):
        charts["Mean reward where nothing is right or wrong"] = _figure(
            rewards, "mean reward", "~g"
        )
    return charts


def _models(comparison: Comparison) -> list[_Model]:
    """What the best run was before training, and other models beside it; the best settings."""
    names = short_names(comparison.axes)
    settings = [setting for setting in scored(comparison) if any(r.trained for r in setting.runs)]
    best_runs = [run for setting in settings[:1] for run in setting.runs if run.trained]
    before = [found for run in best_runs[:1] for found in list(run.answers.items())[:-1]]
    models = [
        _Model(name, _GREYS[number % len(_GREYS)], answers)
        for number, (name, answers) in enumerate(before)
    ]
    for setting, colour in zip(settings[:_BEST], PALETTE, strict=False):
        answers = tuple(answer for run in setting.runs for answer in run.trained)
        models.append(_Model(short_label(setting, names), colour, answers))
    return models


def _shares_right(answers: Sequence[Answer]) -> Iterator[_Bar]:
    """With intervals over problems: several seeds give more answers, not more problems."""
    for domain in dict.fromkeys(answer.domain for answer in answers):
        decided = [a for a in answers if a.domain == domain and a.correct is not None]
        if decided:
            share = sum(bool(answer.correct) for answer in decided) / len(decided)
            problems = len({answer.example_id for answer in decided})
            yield _Bar(domain, share, problems, *wilson_interval(round(share * problems), problems))


def _rewards(answers: Sequence[Answer], decided: set[str]) -> Iterator[_Bar]:
    for domain in dict.fromkeys(a.domain for a in answers if a.domain not in decided):
        rewarded = [a for a in answers if a.domain == domain and a.reward is not None]
        if rewarded:
            mean = fmean(answer.reward for answer in rewarded if answer.reward is not None)
            yield _Bar(domain, mean, len({answer.example_id for answer in rewarded}))


def _figure(models: dict[_Model, list[_Bar]], label: str, tickformat: str) -> Figure:
    traces = [
        {
            "type": "bar",
            "name": for_plotly(model.name, 40),
            "x": [for_plotly(bar.domain, 24) for bar in bars],
            "y": [bar.mean for bar in bars],
            "marker": {"color": model.colour},
            "error_y": _whiskers(bars),
            "hoverinfo": "text",
            "hovertext": [
                for_plotly(f"{model.name}, {bar.domain}: {bar.mean:.3g}, {bar.problems} problems")
                for bar in bars
            ],
        }
        for model, bars in models.items()
    ]
    layout: dict[str, Any] = {
        "barmode": "group",
        "bargap": 0.3,
        "xaxis": {"type": "category", "showgrid": False},
        "yaxis": {"title": {"text": label}, "tickformat": tickformat},
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    }
    return {"data": traces, "layout": layout}


def _whiskers(bars: Sequence[_Bar]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [(bar.mean if bar.high is None else bar.high) - bar.mean for bar in bars],
        "arrayminus": [bar.mean - (bar.mean if bar.low is None else bar.low) for bar in bars],
        "visible": any(bar.low is not None for bar in bars),
        "color": _WHISKER,
        "thickness": 1.4,
        "width": 4,
    }
