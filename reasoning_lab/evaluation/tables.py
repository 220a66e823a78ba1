"""Summaries side by side: for the terminal, and as Markdown for reports."""

from collections.abc import Iterator, Sequence
from math import isfinite

from rich.table import Table
from rich.text import Text

from reasoning_lab.evaluation.metrics import ALL, FORMAT, TRUNCATED, Mean, Row, Summary

_OF_DOMAINS = ("well_formed", "correct")  # with all the others, the table would fill two screens
_CAPTION = "count of completions, share, [95% Wilson interval in %]; ↓: less is better"
_MEANS_CAPTION = "lengths and rewards: mean over completions [95% t interval]"
_PASS_CAPTION = "pass@k: share of problems solved within k samples [95% bootstrap interval in %]"


def results_table(summaries: Sequence[Summary]) -> Table:
    """One line per metric under a heading per group, one column per summary."""
    table = Table(caption=_caption(summaries), caption_justify="left")
    (_, *header), lines = _cells(summaries)
    for number, title in enumerate(header):
        # Narrow cells break into lines; cut off with "…" they would hide the interval.
        table.add_column(
            title, justify="right" if number else "left", no_wrap=not number, overflow="fold"
        )
    for group, *cells in lines:
        if group:
            table.add_section()
            table.add_row(Text(group, style="bold"))
        table.add_row(*cells)
    return table


def results_markdown(summaries: Sequence[Summary]) -> str:
    """The same table as Markdown."""
    header, lines = _cells(summaries)
    rule = ["---", "---", *("---:" for _ in summaries)]
    rows = [header, rule, *lines]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", f"{_caption(summaries)}."])


def format_table(summary: Summary) -> Table:
    """How the completions of each domain keep to the format: one line a domain."""
    table = Table(title=f"Format by domain: {summary.name}")
    header, lines = _format_cells(summary)
    for number, title in enumerate(header):
        table.add_column(title, justify="right" if number else "left")
    for line in lines:
        table.add_row(*line)
    return table


def format_markdown(summary: Summary) -> str:
    """The same table as Markdown."""
    header, lines = _format_cells(summary)
    rule = ["---", *("---:" for _ in header[1:])]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *lines])
    return f"Format by domain, {summary.name}:\n\n{table}"


def _format_cells(summary: Summary) -> tuple[list[str], list[list[str]]]:
    shares = {(row.group, row.metric): f"{row.count}/{row.denominator}" for row in summary.rows}
    groups = list(dict.fromkeys(row.group for row in summary.rows))
    lines = [[group, *(shares[group, metric] for metric in FORMAT)] for group in groups]
    return ["domain", *(metric.replace("_", " ") for metric in FORMAT)], lines


def _caption(summaries: Sequence[Summary]) -> str:
    parts = [_CAPTION]
    if any(one.lengths for one in summaries):
        parts.append(_MEANS_CAPTION)
    if any(one.pass_at for one in summaries):
        parts.append(_PASS_CAPTION)
    return "; ".join(parts)


def _cells(summaries: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    """The header and the lines; a group is named on its first line only."""
    columns = [dict(_column(one)) for one in summaries]
    keys = dict.fromkeys(key for column in columns for key in column)
    groups = dict.fromkeys(group for group, _ in keys)
    lines = []
    for group in groups:
        metrics = [metric for member, metric in keys if member == group]
        for number, metric in enumerate(metrics):
            cells = [column.get((group, metric), "–") for column in columns]
            lines.append([group if number == 0 else "", metric, *cells])
    return ["domain", "metric", *(one.name for one in summaries)], lines


def _column(summary: Summary) -> Iterator[tuple[tuple[str, str], str]]:
    """((group, metric as shown), cell); of single domains only the metrics that sum it up."""
    for row in summary.rows:
        if row.group == ALL or row.metric in _OF_DOMAINS:
            arrow = " ↓" if row.metric == TRUNCATED else ""
            yield (row.group, row.metric.replace("_", " ") + arrow), _count(row)
    for mean in summary.pass_at:
        yield (mean.group, mean.metric.replace("pass_at_", "pass@")), _percent(mean)
    for mean in summary.rewards:
        yield (mean.group, mean.metric), _mean(mean, digits=2)
    for mean in summary.lengths:
        if mean.group == ALL:
            digits = 0 if mean.value >= 100 else 1
            yield (mean.group, mean.metric.replace("_", " ")), _mean(mean, digits)


def _count(row: Row) -> str:
    share = row.count / row.denominator if row.denominator else 0.0
    interval = f"[{100 * row.low:.0f}–{100 * row.high:.0f}]"
    return f"{row.count}/{row.denominator} {share:.0%} {interval}"


def _percent(mean: Mean) -> str:
    return f"{mean.value:.0%} [{100 * mean.low:.0f}–{100 * mean.high:.0f}]"


def _mean(mean: Mean, digits: int) -> str:
    value = f"{mean.value:.{digits}f}"
    if not isfinite(mean.high):  # one completion has no spread
        return value
    return f"{value} [{mean.low:.{digits}f}–{mean.high:.{digits}f}]"
