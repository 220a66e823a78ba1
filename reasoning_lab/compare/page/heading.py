"""What stands above all sections: the verdict, what to run next, and the states of the runs."""

from collections import Counter
from html import escape

from reasoning_lab.compare.comparison import Comparison, Verdict
from reasoning_lab.compare.page.figures import scored
from reasoning_lab.compare.wording import counted

_SHORT = 90  # characters of a headline in large letters


def heading(comparison: Comparison) -> str:
    """HTML."""
    title = f"<h1>{escape(comparison.title)}</h1>"
    return title + _verdict(comparison.verdict) + _states(comparison)


def _verdict(found: Verdict) -> str:
    details = "".join(f"<li>{escape(sentence)}</li>" for sentence in found.details)
    kind = "headline" if len(found.headline) <= _SHORT else "headline long"
    html = f'<p class="{kind}">{escape(found.headline)}</p>'
    html += f"<ul>{details}</ul>" if details else ""
    command = (
        f'<div class="command"><pre id="command">{escape(found.next_command)}</pre>'
        '<button id="copy">Copy</button></div>'
    )
    if found.next_reason or found.next_command:
        reason = f"<p><strong>Next:</strong> {escape(found.next_reason)}</p>"
        html += f'<div class="next">{reason}{command if found.next_command else ""}</div>'
    return html


def _states(comparison: Comparison) -> str:
    """How many runs there are and in which states, and what is missing because of it."""
    states = Counter(run.state for run in comparison.runs)
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    text = f"{counted(len(comparison.runs), 'run')}: {counts}."
    if not scored(comparison):
        text += " None has a score yet, so only what there is so far is shown."
    return f'<p class="notice">{escape(text)}</p>'
