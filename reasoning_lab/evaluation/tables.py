"""Summaries side by side: for the terminal, and as Markdown for reports."""

from collections.abc import Sequence

from rich.table import Table

from reasoning_lab.evaluation.metrics import Row, Summary

_CAPTION = "count of completions, share, [95% Wilson interval in %]"


def results_table(summaries: Sequence[Summary]) -> Table:
    """One line per group and metric, one column per summary."""
    table = Table(caption=_CAPTION, caption_justify="left")
    header, lines = _cells(summaries)
    for number, title in enumerate(header):
        table.add_column(title, justify="left" if number < 2 else "right", no_wrap=number < 2)
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        ends_group = following is not None and following[0] != ""
        table.add_row(*line, end_section=ends_group)
    return table


def results_markdown(summaries: Sequence[Summary]) -> str:
    """The same table as Markdown."""
    header, lines = _cells(summaries)
    rule = ["---", "---", *("---:" for _ in summaries)]
    rows = [header, rule, *lines]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", f"{_CAPTION}."])


def _cells(summaries: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    """The header and the lines; a group is named on its first line only."""
    keys = list(dict.fromkeys((row.group, row.metric) for one in summaries for row in one.rows))
    columns = [{(row.group, row.metric): row for row in one.rows} for one in summaries]
    lines = []
    previous = None
    for group, metric in keys:
        cells = [_cell(column.get((group, metric))) for column in columns]
        lines.append(["" if group == previous else group, metric.replace("_", " "), *cells])
        previous = group
    return ["domain", "metric", *(one.name for one in summaries)], lines


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    share = row.count / row.denominator if row.denominator else 0.0
    interval = f"[{100 * row.low:.0f}–{100 * row.high:.0f}]"
    return f"{row.count}/{row.denominator} {share:.0%} {interval}"
