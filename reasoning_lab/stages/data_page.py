"""The data of an experiment as one HTML page that opens from disk."""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from reasoning_lab.data.example import Example
from reasoning_lab.stages.look_at_data import Look, funnel_lines, in_a_sentence, quantiles

_SAMPLES = 20
_BARS = 40
_WIDTH, _HEIGHT = 720, 120
_STYLE = """
:root { color-scheme: light dark; --ink: #111827; --faint: #6b7280; --line: #e5e7eb;
  --page: #ffffff; --bar: #2563eb; --removed: #ea580c; --learnt: #047857; --other: #0e7490; }
@media (prefers-color-scheme: dark) { :root { --ink: #f3f4f6; --faint: #9ca3af; --line: #374151;
  --page: #111827; --bar: #60a5fa; --removed: #fb923c; --learnt: #34d399; --other: #22d3ee; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--line); }
td:first-child, th:first-child { text-align: left; }
.bar { width: 40%; } .bar div { height: .8rem; background: var(--removed); min-width: 1px; }
.bar .kept { background: var(--bar); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line);
  border-radius: .4rem; padding: .8rem; font-size: .85rem; }
.given { color: var(--faint); } .learnt { color: var(--learnt); } .odd { color: var(--other); }
svg { max-width: 100%; height: auto; } svg rect { fill: var(--bar); }
svg text { fill: var(--faint); font-size: 12px; }
small { color: var(--faint); }
"""
_LEGEND = (
    '<p><span class="given">Grey</span> is given; <span class="learnt">green</span> and '
    '<span class="odd">blue</span> are learnt, token by token.</p>'
)


def data_page(look: Look, *, title: str) -> str:
    """Funnel, lengths and samples of the data; no network and no script needed."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(title)}</h1><p>{escape(in_a_sentence(look))}</p>",
        "<h2>From rows to training examples</h2>",
        *_funnel(look),
        "<h2>Domains and lengths</h2>",
        *_lengths(look),
        "<h2>Samples</h2>",
        _LEGEND,
        *(_sample(look, example) for example in look.samples(_SAMPLES)),
        "<h2>Rows that were removed</h2>",
        *_removed(look),
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _funnel(look: Look) -> Iterator[str]:
    for row in look.mixture.funnel:
        yield f"<h3>{escape(row.source)}</h3><table>"
        for what, rows in funnel_lines(row):
            share = rows / row.read if row.read else 0.0
            kept = ' class="kept"' if what in ("read", "kept for training") else ""
            yield (
                f"<tr><td>{escape(what)}</td><td>{rows:,}</td><td>{share:.1%}</td>"
                f'<td class="bar"><div{kept} style="width:{100 * share:.1f}%"></div></td></tr>'
            )
        yield "</table>"


def _lengths(look: Look) -> Iterator[str]:
    total = len(look.mixture.train)
    yield "<table><tr><th>domain</th><th>examples</th><th>share</th><th>tokens</th>"
    yield "<th>median</th><th>95%</th><th>longest</th></tr>"
    for domain, lengths in look.tokens.items():
        cells = [f"{len(lengths):,}", f"{len(lengths) / total:.0%}", f"{sum(lengths):,}"]
        cells += [f"{length:,}" for length in quantiles(lengths)]
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        yield f"<tr><td>{escape(domain)}</td>{row}</tr>"
    yield "</table>"
    most = max(max(lengths) for lengths in look.tokens.values())
    for domain, lengths in look.tokens.items():
        yield f"<h3>{escape(domain)}: tokens of an example</h3>{_histogram(lengths, most)}"


def _histogram(lengths: Sequence[int], most: int) -> str:
    """How many examples have how many tokens, on an axis that all domains share."""
    counts, edges = np.histogram(lengths, bins=_BARS, range=(0, most + 1))
    wide = _WIDTH / _BARS
    bars = []
    for number, count in enumerate(counts.tolist()):
        if count:
            high = max(1.0, (_HEIGHT - 20) * count / counts.max())
            bars.append(
                f'<rect x="{number * wide:.1f}" y="{_HEIGHT - 20 - high:.1f}" '
                f'width="{wide - 1:.1f}" height="{high:.1f}"><title>{edges[number]:.0f} to '
                f"{edges[number + 1]:.0f} tokens: {count:,}</title></rect>"
            )
    ticks = [
        f'<text x="{x}" y="{_HEIGHT - 4}" text-anchor="{anchor}">{label:,}</text>'
        for x, anchor, label in (
            (0, "start", 0),
            (_WIDTH / 2, "middle", (most + 1) // 2),
            (_WIDTH, "end", most + 1),
        )
    ]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="tokens of an example">{"".join([*bars, *ticks])}</svg>'
    )


def _sample(look: Look, example: Example) -> str:
    spans, learnt = [], 0
    for piece, is_learnt in look.pieces(example):
        kind = ("learnt", "learnt odd")[learnt % 2] if is_learnt else "given"
        learnt += is_learnt
        spans.append(f'<span class="{kind}">{escape(piece)}</span>')
    about = f"{example.source} · {example.domain} · {example.id} · {example.licence}"
    return f"<p><small>{escape(about)}</small></p><pre>{''.join(spans)}</pre>"


def _removed(look: Look) -> Iterator[str]:
    for row in look.mixture.funnel:
        for reason, texts in row.examples.items():
            yield f"<h3>{escape(row.source)}: {escape(reason)}</h3>"
            yield from (f"<pre>{escape(text)}</pre>" for text in texts)
