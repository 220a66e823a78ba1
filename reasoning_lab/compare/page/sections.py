"""What stands on the page, in order; sections without data are left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from reasoning_lab.compare.comparison import Comparison
from reasoning_lab.compare.page.axis_charts import axis_charts, heat_maps
from reasoning_lab.compare.page.differences_table import differences_table
from reasoning_lab.compare.page.domain_bars import domain_charts
from reasoning_lab.compare.page.failures import failures
from reasoning_lab.compare.page.figures import Figure, scored
from reasoning_lab.compare.page.page_labels import short_label, short_names
from reasoning_lab.compare.page.reward_parts import MOST_SETTINGS, reward_parts_table
from reasoning_lab.compare.page.score_charts import (
    MOST_ROWS,
    cost_chart,
    minutes_of,
    parallel_chart,
    pareto_front,
    score_chart,
)
from reasoning_lab.compare.page.settings_table import settings_table
from reasoning_lab.compare.wording import (
    difference_interval_text,
    difference_text,
    score_text,
)
from reasoning_lab.evaluation.verdict import format_p

_WIDTH_OF_KEY = 150  # pixels, for its values not to run into each other
_CURVES = """
<div class="controls">
<label>Metric <select id="metric"></select></label>
<label>Colour by <select id="colour"></select></label>
<label><input type="checkbox" id="bands"> band</label>
<label><input type="checkbox" id="runs"> single runs</label>
<label><input type="checkbox" id="raw"> raw values</label>
</div>
<div class="chips" id="legend"></div>
<div class="chart" id="curves-chart"></div>
<p class="lead">Lines are means over seeds, bands reach from the lowest to the highest seed.
<span id="memory"></span> Neighbouring points are averaged where there are many.</p>
"""
_PROMPTS_LEAD = "Held-out problems of the final evaluation, answered by several models."
_PROMPTS = """
<div class="controls">
<button id="previous">← Previous</button><button id="following">Next →</button>
<span id="place"></span>
<label><input type="checkbox" id="disagree"> only where they disagree</label>
<select id="add-writer" aria-label="add a model or run"></select>
</div>
<div id="strips"></div><div id="prompt"></div>
"""


@dataclass(frozen=True)
class Section:
    """id: of the element. lead: sentences below the title. html: nothing in it comes unescaped.

    figures: by the name that html has in data-figure.
    """

    id: str
    title: str
    lead: str
    html: str
    figures: Mapping[str, Figure] = field(default_factory=dict)


def sections(comparison: Comparison, *, has_curves: bool, has_prompts: bool) -> list[Section]:
    """Those that have something to show; whether curves and prompts have is known to the caller."""
    made = [
        _settings(comparison),
        _scores(comparison),
        Section("curves", "Learning curves", "", _CURVES if has_curves else ""),
        _axes(comparison),
        _pairs(comparison),
        _parallel(comparison),
        _cost(comparison),
        _domains(comparison),
        _reward_parts(comparison),
        _differences(comparison),
        Section("prompts", "The same prompts", _PROMPTS_LEAD, _PROMPTS if has_prompts else ""),
        Section("failures", "Failures", "", failures(comparison.runs)),
    ]
    return [section for section in made if section.html]


def _settings(comparison: Comparison) -> Section:
    lead = f"By {comparison.metric.label}, best first. Click on a heading to sort."
    if len(comparison.verdict.contenders) > 1:
        lead += " Those in colour cannot be told apart from the best."
    return Section("settings", "Settings", lead, settings_table(comparison))


def _scores(comparison: Comparison) -> Section:
    chart = score_chart(comparison)
    lead = "Large dots are means with their 95% intervals, small dots single seeds."
    if len(scored(comparison)) > MOST_ROWS:
        lead += f" The best {MOST_ROWS} of {len(scored(comparison))} settings."
    label = comparison.metric.label
    title = label[:1].upper() + label[1:]
    return _charts("scores", title, lead, {"": chart} if chart else {})


def _axes(comparison: Comparison) -> Section:
    charts = axis_charts(comparison)
    lead = (
        "Small dots are runs, large dots means over all other keys. The 95% intervals hold what "
        "the other keys and the seeds change, so they are wide."
    )
    if comparison.effects:
        lead += " Differences below the charts are adjusted for the number of comparisons."
    below = {axis: _effects(comparison, axis) for axis in charts}
    return _charts("axes", "Each key by itself", lead, charts, below)


def _effects(comparison: Comparison, axis: str) -> str:
    metric = comparison.metric
    lines = []
    for effect in comparison.effects:
        if effect.axis == axis:
            interval = difference_interval_text(effect.low, effect.high, metric)
            lines.append(
                f"{effect.value} against {effect.reference}: "
                f"{difference_text(effect.difference, metric)} "
                f"({', '.join(filter(None, [interval, format_p(effect.p_value)]))})"
            )
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="plain">{items}</ul>' if items else ""


def _pairs(comparison: Comparison) -> Section:
    lead = "Mean over all runs with these two values; n is their number."
    return _charts("pairs", "Two keys together", lead, heat_maps(comparison))


def _parallel(comparison: Comparison) -> Section:
    title = "All keys together"
    lead = "A line for each setting. Drag along an axis to keep only what passes there."
    chart = parallel_chart(comparison)
    if chart is None:
        return Section("parallel", title, lead, "")
    width = _WIDTH_OF_KEY * len(chart["data"][0]["dimensions"])
    html = (
        f'<div class="wide"><div style="min-width:{width}px">'
        '<div class="chart" data-figure="parallel"></div></div></div>'
    )
    return Section("parallel", title, lead, html, {"parallel": chart})


def _cost(comparison: Comparison) -> Section:
    chart, names = cost_chart(comparison), short_names(comparison.axes)
    lead = "No setting beats those on the dotted line at the same or less training time."
    front = "".join(
        f"<li>{escape(short_label(setting, names))}: "
        f"{score_text(setting.estimate.mean, comparison.metric)} "
        f"in {minutes_of(setting):.1f} min</li>"
        for setting in pareto_front(comparison)
        if setting.estimate
    )
    charts = {"": chart} if chart else {}
    return _charts("cost", "Score and time", lead, charts, {"": f'<ol class="plain">{front}</ol>'})


def _domains(comparison: Comparison) -> Section:
    lead = (
        "The final evaluation of the best settings, seeds together. Grey are the models before "
        "training. Whiskers are 95% intervals over problems."
    )
    return _charts("domains", "By domain", lead, domain_charts(comparison))


def _reward_parts(comparison: Comparison) -> Section:
    lead = (
        "Means over the last tenth of training; the highest of a column has the strongest colour."
    )
    if len(comparison.settings) > MOST_SETTINGS:
        lead += f" The best {MOST_SETTINGS} settings."
    return Section("parts", "Components of the reward", lead, reward_parts_table(comparison))


def _differences(comparison: Comparison) -> Section:
    lead = "Only the keys in which runs differ."
    return Section("config", "Configs", lead, differences_table(comparison))


def _charts(
    id_: str,
    title: str,
    lead: str,
    charts: Mapping[str, Figure],
    below: Mapping[str, str] | None = None,
) -> Section:
    """A section of charts by their heading, "" for none; below: HTML by the same heading."""
    figures, parts = {}, []
    for number, (heading, chart) in enumerate(charts.items()):
        figures[f"{id_}-{number}"] = chart
        parts.append(
            f"<div>{f'<h3>{escape(heading)}</h3>' if heading else ''}"
            f'<div class="chart" data-figure="{id_}-{number}"></div>'
            f"{(below or {}).get(heading, '')}</div>"
        )
    kind = ' class="grid"' if len(parts) > 1 else ""
    return Section(id_, title, lead, f"<div{kind}>{''.join(parts)}</div>" if parts else "", figures)
