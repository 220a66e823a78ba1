"""A comparison on the terminal, and the same as Markdown."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reasoning_lab.compare.comparison import ComparedRun, Comparison, Effect, Pair
from reasoning_lab.compare.scores import SCORE
from reasoning_lab.compare.wording import (
    difference_interval_text,
    difference_text,
    estimate_text,
)
from reasoning_lab.evaluation.verdict import format_p

_SHOWN_ON_SCREEN = 30  # settings; all of them are in the files
_NOT_ENDED_WELL = ("failed", "killed", "interrupted", "unreadable")
_NOTHING = "–"


@dataclass(frozen=True)
class _Cells:
    """A table before it is drawn; the columns that `numbers` names are set to the right."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    caption: str = ""
    numbers: tuple[int, ...] = ()


def show(comparison: Comparison, console: Console) -> None:
    """Print settings, effects, what went wrong, and the verdict."""
    for cells in (_settings(comparison), _effects(comparison), _troubles(comparison)):
        if cells.rows:
            console.print(_drawn(cells, most=_SHOWN_ON_SCREEN))
    verdict = comparison.verdict
    console.print(Text(f"\n{verdict.headline}", style="bold"))
    for sentence in verdict.details:
        console.print(Text(sentence))
    if verdict.next_reason:
        console.print(Text(f"\nNext: {verdict.next_reason}"))
    if verdict.next_command:
        console.print(Text(f"  {verdict.next_command}"), soft_wrap=True)


def as_markdown(comparison: Comparison) -> str:
    """The verdict and all tables, for verdict.md."""
    verdict = comparison.verdict
    parts = [
        f"# {comparison.title}",
        f"**{verdict.headline}**",
        "\n".join(f"- {sentence}" for sentence in verdict.details),
        f"Next: {verdict.next_reason}" if verdict.next_reason else "",
        f"```sh\n{verdict.next_command}\n```" if verdict.next_command else "",
    ]
    tables = (
        _settings(comparison),
        _against_the_top(comparison),
        _effects(comparison),
        _troubles(comparison),
    )
    parts += [_markdown(cells) for cells in tables if cells.rows]
    return "\n\n".join(filter(None, parts)) + "\n"


def _settings(comparison: Comparison) -> _Cells:
    metric = comparison.metric
    arrow = "" if metric.higher_is_better else " ↓"
    rows = [
        (
            setting.label,
            _states(setting.runs),
            str(len(setting.scores)),
            estimate_text(setting.estimate, metric),
            _well_formed(setting.runs),
            _mean([run.device_minutes for run in setting.runs if run.step]),
            _steps(setting.runs),
        )
        for setting in comparison.settings
    ]
    name = "score" if metric.name == SCORE else metric.label
    header = ("setting", "runs", "seeds", f"{name}{arrow}", "well formed")
    return _Cells(
        comparison.title,
        (*header, "device-minutes", "steps"),
        rows,
        f"{name}: {metric.label}, mean [95% interval] over {_basis(comparison)}; "
        "device-minutes and steps: of one run",
        numbers=(2, 3, 4, 5, 6),
    )


def _basis(comparison: Comparison) -> str:
    bases = {pair.basis for pair in comparison.pairs}
    return "problems, of these trained models" if bases == {"problems"} else "seeds"


def _states(runs: Sequence[ComparedRun]) -> str:
    """ "done", or "2 done, 1 failed"."""
    count = Counter(run.state for run in runs)
    if len(count) == 1:
        return next(iter(count))
    return ", ".join(f"{number} {state}" for state, number in count.most_common())


def _well_formed(runs: Sequence[ComparedRun]) -> str:
    formed = [answer.well_formed for run in runs for answer in run.trained]
    return f"{fmean(formed):.0%}" if formed else _NOTHING


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.1f}" if values else _NOTHING


def _steps(runs: Sequence[ComparedRun]) -> str:
    """ "20/20", or "7–20/20" where the runs have come to different steps."""
    steps = sorted(run.step for run in runs)
    of = [run.max_steps for run in runs if run.max_steps]
    taken = str(steps[0]) if steps[0] == steps[-1] else f"{steps[0]}–{steps[-1]}"
    return f"{taken}/{max(of)}" if of else taken


def _effects(comparison: Comparison) -> _Cells:
    return _Cells(
        "What an axis changes",
        ("axis", "value", "against", "difference", "95% interval", "p"),
        [
            (one.axis, one.value, one.reference, *_tested(one, comparison))
            for one in comparison.effects
        ],
        "all other axes averaged; intervals and p after Bonferroni, for all effects together",
        numbers=(1, 2, 3, 4, 5),
    )


def _against_the_top(comparison: Comparison) -> _Cells:
    top = comparison.settings[0].label if comparison.settings else ""
    pairs = [pair for pair in comparison.pairs if pair.better == top]
    over_problems = any(pair.basis == "problems" for pair in pairs)
    how = "Holm" if over_problems else "Tukey and Kramer"
    return _Cells(
        f"What {top} has over the others",
        ("setting", "difference", "95% interval", "p", "needed"),
        [(pair.other, *_tested(pair, comparison), _needed(pair)) for pair in pairs],
        f"p after {how}, for all {len(comparison.pairs)} pairs of settings together; needed: how "
        f"many {'problems' if over_problems else 'seeds of each'} would find it (80% power)",
        numbers=(1, 2, 3, 4),
    )


def _needed(pair: Pair) -> str:
    return _NOTHING if pair.more_needed is None else f"{pair.more_needed:,}"


def _tested(one: Effect | Pair, comparison: Comparison) -> tuple[str, str, str]:
    interval = difference_interval_text(one.low, one.high, comparison.metric)
    if not interval:
        return difference_text(one.difference, comparison.metric), _NOTHING, _NOTHING
    return (
        difference_text(one.difference, comparison.metric),
        interval,
        format_p(one.p_value).removeprefix("p = ").removeprefix("p "),
    )


def _troubles(comparison: Comparison) -> _Cells:
    """Runs that did not end well, with the cause, and what cannot be read of others."""
    rows = [
        (run.name, run.state, str(run.step), cause)
        for run in comparison.runs
        for cause in _causes(run)
    ]
    return _Cells("What went wrong", ("run", "state", "step", "cause"), rows, numbers=(2,))


def _causes(run: ComparedRun) -> Iterator[str]:
    if run.state in _NOT_ENDED_WELL:
        yield run.error or ("no process of it is left" if run.state == "killed" else _NOTHING)
    yield from run.trouble


def _drawn(cells: _Cells, *, most: int) -> Table:
    left_out = len(cells.rows) - most
    caption = cells.caption + (f"; {left_out} more rows not shown" if left_out > 0 else "")
    table = Table(title=Text(cells.title), caption=Text(caption), caption_justify="left")
    for number, title in enumerate(cells.header):
        table.add_column(
            Text(title), justify="right" if number in cells.numbers else "left", overflow="fold"
        )
    for row in cells.rows[:most]:
        table.add_row(*map(Text, row))
    return table


def _markdown(cells: _Cells) -> str:
    rule = ["---:" if number in cells.numbers else "---" for number in range(len(cells.header))]
    lines = [" | ".join(map(_escaped, row)) for row in (cells.header, rule, *cells.rows)]
    table = "\n".join(f"| {line} |" for line in lines)
    return "\n\n".join(filter(None, [f"## {cells.title}", table, cells.caption]))


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
