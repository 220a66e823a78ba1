"""The comparison as an HTML page that opens from disk: index.html and plotly.min.js beside it."""

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from math import isfinite
from pathlib import Path

from plotly.offline import get_plotlyjs, get_plotlyjs_version

from reasoning_lab.compare.comparison import Comparison
from reasoning_lab.compare.page.curves import curves
from reasoning_lab.compare.page.heading import heading
from reasoning_lab.compare.page.same_prompts import same_prompts
from reasoning_lab.compare.page.sections import Section, sections
from reasoning_lab.runs.files import write_atomically

_PLOTLY = "plotly.min.js"
_FROM_NETWORK = """
function plotlyFromNetwork() {
  const hint = document.getElementById("hint");
  hint.hidden = false;
  const script = document.createElement("script");
  script.src = "%(address)s";
  script.integrity = "%(integrity)s";
  script.crossOrigin = "anonymous";
  script.onload = () => redrawn.forEach((draw) => draw());
  script.onerror = () => { hint.textContent = "The charts cannot be drawn: plotly.min.js is " +
    "missing beside this page, and the network cannot be reached."; };
  document.head.append(script);
}
"""
_DRAW = """
if (window.Plotly) redrawn.forEach((draw) => draw());
for (const change of [isDark, isNarrow]) {
  change.addEventListener("change", () => window.Plotly && redrawn.forEach((draw) => draw()));
}
"""


def write_page(comparison: Comparison, folder: Path) -> Path:
    """Write index.html and the plotly.min.js that it loads into `folder`; the path of the page.

    The page needs no network. Without the plotly.min.js beside it, it says so and takes the same
    version from plotly's own server.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plotly = get_plotlyjs()
    write_atomically(folder / _PLOTLY, plotly)
    page = folder / "index.html"
    write_atomically(page, "\n".join(_page(comparison, plotly)) + "\n")
    return page


def for_script(value: object) -> str:
    """JSON that cannot end the <script> that holds it, whatever the texts in it say.

    NaN and infinities, which JSON does not have, become null.
    """
    try:
        text = _json(value)
    except ValueError:
        text = _json(_finite(value))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _finite(value: object) -> object:
    """`value` with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _page(comparison: Comparison, plotly: str) -> Iterator[str]:
    drawn, prompts = curves(comparison), same_prompts(comparison)
    shown = sections(comparison, has_curves=bool(drawn), has_prompts=bool(prompts))
    figures = {name: figure for section in shown for name, figure in section.figures.items()}
    data = {"figures": figures, "curves": drawn, "prompts": prompts}
    title = escape(comparison.title)
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title><style>{_beside('page.css')}</style></head><body>"
    links = (f'<a href="#{section.id}">{escape(section.title)}</a>' for section in shown)
    yield f"<header>{heading(comparison)}<nav>{''.join(links)}</nav></header>"
    yield '<p id="hint" class="notice" hidden>plotly.min.js is missing beside this page, so the '
    yield "charts are drawn by the same version from cdn.plot.ly.</p>"
    yield "<noscript><p>Charts and answers need JavaScript; it runs from this file.</p></noscript>"
    yield from (_html(section) for section in shown)
    yield f'<script type="application/json" id="data">{for_script(data)}</script>'
    yield f"<script>{_from_network(plotly)}</script>"
    yield f'<script src="{_PLOTLY}" onerror="plotlyFromNetwork()"></script>'
    scripts = [_beside(name) for name in ("page.js", "curves.js", "prompts.js")]
    yield f"<script>{''.join(scripts)}{_DRAW}</script>"
    yield "</body></html>"


def _html(section: Section) -> str:
    lead = f'<p class="lead">{escape(section.lead)}</p>' if section.lead else ""
    return (
        f'<section id="{section.id}"><h2>{escape(section.title)}</h2>{lead}{section.html}</section>'
    )


def _from_network(plotly: str) -> str:
    """The script that asks plotly's server for the very file that lies beside the page."""
    digest = base64.b64encode(hashlib.sha256(plotly.encode()).digest()).decode()
    address = f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"
    return _FROM_NETWORK % {"address": address, "integrity": f"sha256-{digest}"}


def _beside(name: str) -> str:
    return files("reasoning_lab.compare.page").joinpath(name).read_text("utf-8")
