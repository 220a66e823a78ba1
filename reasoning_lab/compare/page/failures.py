"""Runs that ended badly or could not be read, with the reasons."""

from collections.abc import Sequence
from html import escape

from reasoning_lab.compare.comparison import ComparedRun

_QUIET = ("done", "running", "waiting")


def failures(runs: Sequence[ComparedRun]) -> str:
    """HTML, one box for each run that has failed or is in trouble; "" where none has."""
    return "".join(_box(run) for run in runs if run.state not in _QUIET or run.trouble)


def _box(run: ComparedRun) -> str:
    step = f"step {run.step}" + (f" of {run.max_steps}" if run.max_steps else "")
    kind = "badge" if run.state in _QUIET else "badge wrong"
    head = f'<strong>{escape(run.name)}</strong> <span class="{kind}">{escape(run.state)}</span>'
    parts = [f'<div class="failure"><p>{head} <small>{escape(step)}</small></p>']
    if run.error:
        parts.append(f"<p>{escape(run.error)}</p>")
    parts += [f'<p class="faint">{escape(sentence)}</p>' for sentence in run.trouble]
    if run.traceback:
        parts.append(
            f"<details><summary>Traceback</summary><pre>{escape(run.traceback)}</pre></details>"
        )
    return "".join([*parts, "</div>"])
