"""The table of config keys in which runs differ."""

from html import escape

from reasoning_lab.compare.comparison import Comparison
from reasoning_lab.compare.wording import counted


def differences_table(comparison: Comparison) -> str:
    """HTML; "" where no key differs. There are more rows than columns."""
    keys, runs = list(comparison.differences), [run.name for run in comparison.runs]
    if not keys:
        return ""
    cells = {
        (key, run): _value(comparison.differences[key][run])
        if run in comparison.differences[key]
        else "—"
        for key in keys
        for run in runs
    }
    if len(keys) >= len(runs):
        rows = [[key, *(cells[key, run] for run in runs)] for key in keys]
        head = ["key", *runs]
    else:
        rows = [[run, *(cells[key, run] for key in keys)] for run in runs]
        head = ["run", *keys]
    heads = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f"<details{' open' if len(keys) <= 12 else ''}>"
        f"<summary>{counted(len(keys), 'key')}</summary>"
        f'<div class="scroll"><table class="sticky"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></details>"
    )


def _value(value: object) -> str:
    """As YAML would have it: null, true, false."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
