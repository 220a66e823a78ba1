"""What the lint found, for the terminal and as JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reasoning_lab.rewards.lint.attack import (
    WINNING_SHARE,
    WINNING_SHARE_IF_RIGHT,
    Finding,
    Report,
)

_HONEST = "honest answers"
_WIN, _UNSEEN = "✗", "·"
_CAPTION = (
    f"%: share of what honest answers earn. {_WIN}: the cheat wins, with {WINNING_SHARE:.0%} or "
    f"more; with {WINNING_SHARE_IF_RIGHT:.0%} if the answer in it is right (*). {_UNSEEN}: not "
    "seen by design. Parts that cannot see a cheat do not count for its share."
)
_SHOWN_CHARS = 90  # at either end
_SHOWN_WINS = 5  # the table and the JSON have all
_WIDE = 104  # columns that five domains need for means and shares


def show(report: Report, console: Console) -> None:
    """The table, the worst cheats first, and each cheat that wins with a completion of its."""
    wide = console.width >= _WIDE
    if len(report.honest) == 1:
        console.print(_of_one_domain(report, wide=wide))
    else:
        console.print(_of_domains(report, wide=wide))
    if unseen := _unseen(report):
        console.print(f"\nNot seen by design: {', '.join(unseen)}.", style="dim", highlight=False)
    worst: dict[str, Finding] = {}
    for finding in report.wins:
        worst.setdefault(finding.cheat.name, finding)
    for finding in list(worst.values())[:_SHOWN_WINS]:
        console.print()
        console.print(_headed(report, finding))
        console.print(Text(_shortened(finding.completion), style="dim"))
    console.print()
    console.print(_verdict(report))


def as_record(report: Report) -> dict[str, Any]:
    """For a file of JSON."""
    return {
        "rewards": {name: type(part).__name__ for name, part in report.rewards.items()},
        "honest": {domain: asdict(earned) for domain, earned in report.honest.items()},
        "cheats": [
            {
                "cheat": finding.cheat.name,
                "right": finding.cheat.right,
                "domain": finding.domain,
                **asdict(finding.earned),
                "share": finding.share,
                "seen": finding.seen,
                "wins": finding.wins,
                "completion": finding.completion,
            }
            for finding in report.findings
        ],
    }


def _of_one_domain(report: Report, *, wide: bool) -> Table:
    """One column for each part and, if there is room, one for the highest reward."""
    ((domain, honest),) = report.honest.items()
    parts = list(honest.components) if len(honest.components) > 1 else []
    table = _table(f"{domain} problems")
    highest = wide or not parts
    for title in (*parts, "reward", *(["highest"] if highest else []), "of honest"):
        table.add_column(title, justify="right", overflow="fold")
    for name, earned, share, style in (
        (_HONEST, honest, "100%  ", "bold"),
        *((_name(one), one.earned, _share(one), _style(one)) for one in _shown(report)),
    ):
        values = [*(earned.components[part] for part in parts), earned.mean]
        cells = [f"{value:.2f}" for value in (*values, *([earned.maximum] if highest else []))]
        table.add_row(name, *cells, share, style=style, end_section=name == _HONEST)
    return table


def _of_domains(report: Report, *, wide: bool) -> Table:
    """One column for each domain, with shares and, if there is room, means."""
    table = _table(None)
    for domain in report.honest:
        table.add_column(domain, justify="right", no_wrap=True)
    share = " 100%" if wide else ""
    honest = [f"{earned.mean:.2f}{share}  " for earned in report.honest.values()]
    table.add_row(_HONEST, *honest, style="bold", end_section=True)
    lines: dict[str, dict[str, Finding]] = {}
    for finding in _shown(report):
        lines.setdefault(_name(finding), {})[finding.domain] = finding
    for name, line in lines.items():
        table.add_row(name, *_cells(report, line, wide=wide))
    return table


def _table(title: str | None) -> Table:
    table = Table(title=title, caption=_CAPTION, caption_justify="left")
    table.add_column("cheat", no_wrap=True)
    return table


def _cells(report: Report, line: dict[str, Finding], *, wide: bool) -> Iterator[Text]:
    for domain in report.honest:
        if domain not in line:
            yield Text("")
            continue
        finding = line[domain]
        mean = f"{finding.earned.mean:.2f} " if wide else ""
        yield Text(f"{mean}{_share(finding)}", style=_style(finding))


def _share(finding: Finding) -> str:
    """The share and a mark, of 6 characters at least."""
    if finding.share is None:
        return f"   – {_UNSEEN}"
    return f"{finding.share:4.0%} {_WIN if finding.wins else ' '}"


def _name(finding: Finding) -> str:
    return f"{finding.cheat.name}{'*' if finding.cheat.right else ''}"


def _style(finding: Finding) -> str:
    return "bold red" if finding.wins else "" if finding.seen else "dim"


def _headed(report: Report, finding: Finding) -> Text:
    honest = report.honest[finding.domain].mean
    return Text.assemble(
        (f"{_WIN} {finding.cheat.name}", "bold red"),
        f" ({finding.domain}) earns {finding.earned.mean:.2f}, honest answers {honest:.2f}:",
    )


def _unseen(report: Report) -> list[str]:
    """Cheats that no part may see in any domain."""
    seen = {finding.cheat.name for finding in report.findings if finding.seen}
    return [name for name in _names(report.findings) if name not in seen]


def _shown(report: Report) -> list[Finding]:
    """What has a line in the table."""
    unseen = _unseen(report)
    return [finding for finding in report.findings if finding.cheat.name not in unseen]


def _verdict(report: Report) -> Text:
    count, winning = len(_names(report.findings)), _names(report.wins)
    if winning:
        told = f"{len(winning)} of {count} cheats win: {', '.join(winning)}."
        return Text(told, style="bold red")
    if seen := count - len(_unseen(report)):
        return Text(f"None of {seen} cheats that can be seen wins.", style="bold green")
    return Text("No cheat can be seen by these rewards.", style="bold yellow")


def _names(findings: Iterable[Finding]) -> list[str]:
    return list(dict.fromkeys(finding.cheat.name for finding in findings))


def _shortened(text: str) -> str:
    """Both ends on one line: the answer is at the second."""
    line = " ".join(text.split())
    return (
        line if len(line) <= 2 * _SHOWN_CHARS else f"{line[:_SHOWN_CHARS]} … {line[-_SHOWN_CHARS:]}"
    )
