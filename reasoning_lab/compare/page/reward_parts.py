"""Components of the reward at the end of training, by setting."""

from collections.abc import Sequence
from html import escape
from statistics import fmean

import numpy as np

from reasoning_lab.compare.comparison import ComparedRun, Comparison, Setting
from reasoning_lab.compare.page.page_labels import short_label, short_names

_PREFIX = "reward/"
_LAST_SHARE = 0.1  # of a run's points
MOST_SETTINGS = 20
_NOT_PARTS = ("reward/std_in_group",)


def reward_parts_table(comparison: Comparison) -> str:
    """HTML: the mean of each reward/… over the last tenth of training; "" without any.

    The highest of a column has the strongest colour.
    """
    names = _names(comparison.runs)
    settings = [
        setting
        for setting in comparison.settings
        if any(name in run.series for run in setting.runs for name in names)
    ][:MOST_SETTINGS]
    columns = [[_end(setting, name) for setting in settings] for name in names]
    if len(names) < 2 or not any(value is not None for column in columns for value in column):
        return ""
    short = short_names(comparison.axes)
    heads = "".join(f'<th class="number">{escape(name[len(_PREFIX) :])}</th>' for name in names)
    body = []
    for row, setting in enumerate(settings):
        cells = "".join(_cell(column[row], column) for column in columns)
        body.append(f"<tr><td>{escape(short_label(setting, short))}</td>{cells}</tr>")
    return (
        '<div class="scroll"><table class="sticky"><thead><tr><th>setting</th>'
        f"{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _names(runs: Sequence[ComparedRun]) -> list[str]:
    """reward/… of any run, the total first."""
    names = {name for run in runs for name in run.series if name.startswith(_PREFIX)}
    return sorted(names - {*_NOT_PARTS}, key=lambda name: (name != "reward/total", name))


def _end(setting: Setting, name: str) -> float | None:
    """Mean over runs of the mean over the last tenth of their finite points."""
    ends = []
    for run in setting.runs:
        if name in run.series:
            values = run.series[name].values
            values = values[np.isfinite(values)]
            if len(values):
                ends.append(float(values[-max(1, int(_LAST_SHARE * len(values))) :].mean()))
    return fmean(ends) if ends else None


def _cell(value: float | None, column: Sequence[float | None]) -> str:
    if value is None:
        return '<td class="number faint">—</td>'
    values = [other for other in column if other is not None]
    spread = max(values) - min(values)
    tint = 40 * (value - min(values)) / spread if spread else 0
    return f'<td class="number tint" style="--tint:{tint:.0f}%">{value:.3f}</td>'
