"""The table of settings: score, interval, seeds, states, minutes; sorted by page.js on a click."""

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from math import isfinite

from reasoning_lab.compare.comparison import Comparison, Estimate, Metric, Setting
from reasoning_lab.compare.page.figures import score_title
from reasoning_lab.compare.page.page_labels import is_run_name, short_names
from reasoning_lab.compare.wording import interval_text, score_text

_BAR_WIDTH = 120  # pixels
_MOST_SEEDS = 4  # named one by one


def settings_table(comparison: Comparison) -> str:
    """HTML. A cell's data-value is what its column is sorted by; empty ones come last.

    Settings are called by their values, or by their runs, whose values then come last.
    """
    ends = _bar_ends(comparison.settings)
    top = {*comparison.verdict.contenders, comparison.verdict.winner}
    rows = []
    for rank, setting in enumerate(comparison.settings, 1):
        kind = "top" if setting.label in top else ""
        cells = "".join(_cells(comparison, setting, rank, ends))
        rows.append(f'<tr class="{kind}" title="{escape(setting.label)}">{cells}</tr>')
    return (
        '<div class="scroll"><table class="sortable settings">'
        f"<thead><tr>{''.join(_heads(comparison))}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _has_names(comparison: Comparison) -> bool:
    return not comparison.axes or any(map(is_run_name, comparison.settings))


def _heads(comparison: Comparison) -> list[str]:
    names = short_names(comparison.axes)
    axes = [_head(names[axis.name], title=axis.name) for axis in comparison.axes]
    has_names = _has_names(comparison)
    return [
        _head("#"),
        *([_head("run")] if has_names else axes),
        _head(score_title(comparison.metric), number=True, title=comparison.metric.label),
        "<th></th>",
        _head("95% interval", number=True),
        _head("seeds"),
        _head("state"),
        _head("device-minutes", number=True),
        *(axes if has_names else []),
    ]


def _cells(
    comparison: Comparison, setting: Setting, rank: int, ends: tuple[float, float]
) -> list[str]:
    values = [setting.values.get(axis.name) for axis in comparison.axes]
    axes = [_cell("—" if value is None else value, value=value) for value in values]
    has_names = _has_names(comparison)
    minutes = sum(run.device_minutes for run in setting.runs)
    return [
        _cell(str(rank), value=rank, kind="number faint"),
        *([_cell(setting.label, value=setting.label, kind="name")] if has_names else axes),
        *_score_cells(comparison.metric, setting.estimate, ends),
        _cell(_seeds(setting), value=len(setting.scores)),
        _cell(_states(setting), value=_states(setting)),
        _cell(f"{minutes:,.1f}", value=minutes, kind="number"),
        *(axes if has_names else []),
    ]


def _score_cells(
    metric: Metric, estimate: Estimate | None, ends: tuple[float, float]
) -> Iterator[str]:
    """Score, bar and interval; sorted by the interval's width."""
    if estimate is None:
        yield _cell("—", kind="number") + "<td></td>" + _cell("", kind="number")
    else:
        yield _cell(score_text(estimate.mean, metric), value=estimate.mean, kind="number strong")
        yield f"<td>{_bar(estimate.low, estimate.mean, estimate.high, ends)}</td>"
        text = interval_text(estimate.low, estimate.high, metric) or "none"
        yield _cell(text, value=estimate.high - estimate.low, kind="number faint")


def _head(text: str, *, number: bool = False, title: str = "") -> str:
    kind = ' class="number"' if number else ""
    return f'<th{kind} title="{escape(title)}"><button>{escape(text)}</button></th>'


def _cell(text: str, *, value: object = None, kind: str = "") -> str:
    shown = "" if value is None else escape(str(value))
    return f'<td class="{kind}" data-value="{shown}">{escape(text)}</td>'


def _seeds(setting: Setting) -> str:
    """Seeds with a score, of how many if some have none yet."""
    seeds = sorted(setting.scores)
    text = ", ".join(map(str, seeds)) if len(seeds) <= _MOST_SEEDS else f"{len(seeds)} seeds"
    if len(seeds) == len(setting.runs):
        return text
    return f"{text or 'none'} ({len(seeds)} of {len(setting.runs)})"


def _states(setting: Setting) -> str:
    """Such as "done" or "2 done, running 40/100"."""
    running = [
        f"running {run.step}/{run.max_steps or '?'}"
        for run in setting.runs
        if run.state == "running"
    ]
    others = Counter(run.state for run in setting.runs if run.state != "running")
    if len(others) == 1 and not running:
        return next(iter(others))
    return ", ".join([*(f"{count} {state}" for state, count in others.items()), *running])


def _bar_ends(settings: Sequence[Setting]) -> tuple[float, float]:
    """The lowest and the highest value that a bar shows, the same for all rows."""
    estimates = [setting.estimate for setting in settings if setting.estimate]
    values = [value for e in estimates for value in (e.low, e.mean, e.high) if isfinite(value)] or [
        0.0
    ]
    pad = 0.05 * (max(values) - min(values)) or 0.5
    return min(values) - pad, max(values) + pad


def _bar(low: float, mean: float, high: float, ends: tuple[float, float]) -> str:
    """A dot on its interval, as SVG; the numbers stand beside it."""

    def x(value: float) -> str:
        return f"{_BAR_WIDTH * (value - ends[0]) / (ends[1] - ends[0]):.1f}"

    line = ""
    if isfinite(low) and isfinite(high):
        line = f'<path d="M{x(low)} 8H{x(high)}"/>'
    return (
        f'<svg class="bar" width="{_BAR_WIDTH}" height="16" aria-hidden="true">'
        f'{line}<circle cx="{x(mean)}" cy="8" r="4.5"/></svg>'
    )
