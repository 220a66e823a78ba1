"""`mode=plan`: make a plan, show it, and leave it where it is asked for."""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import Experiment
from reasoning_lab.preflight import record, wording
from reasoning_lab.preflight.plan import Plan, ProgramPlan, make
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.stages.progress import make_console, progress_bar

_COLOURS = {
    "base": "blue",
    "lora": "cyan",
    "batch": "white",
    "logits": "magenta",
    "cache": "yellow",
    "rest": "green",
}
_VERDICTS = {"fits": "bold green", "tight": "bold yellow", "does not fit": "bold red"}
_BAR = 40


def print_plan(experiment: Experiment) -> None:
    """Make the plan of a run and print it; write it to plan.save, if that is given.

    Raises:
        ConfigError: plan.save cannot be written.
        RunError: a compiler failed.
    """
    console = make_console()
    plan = _made(experiment, console)
    record.keep(plan)
    show(plan, console)
    if experiment.plan.save is not None:
        save(markdown(plan, this_command()), Path(experiment.plan.save), console)


def _made(experiment: Experiment, console: Console) -> Plan:
    bars = Console(stderr=True)
    if not bars.is_terminal:
        return make(experiment)
    with progress_bar(bars, "compile", 1) as bar:
        return make(experiment, bar.set)


def show(plan: Plan, console: Console) -> None:
    """Tables, a bar for the memory of each program, and what it comes to."""
    console.print(Text(wording.title(plan), "bold"))
    console.print(Text(wording.how(plan), "dim"))
    console.print(_memory_table(plan))
    console.print(_bars(plan, in_colour=console.is_terminal))
    console.print(_time_table(plan))
    for line in wording.conclusions(plan):
        console.print(Text(line))
    if overrides := wording.advice(plan):
        console.print(Text(wording.TRY + "  ".join(overrides), "bold"))


def _rows(plan: Plan) -> list[tuple[ProgramPlan, str]]:
    return [
        pair
        for stage in plan.stages
        for pair in zip(stage.programs, wording.names(stage, plan), strict=True)
    ]


def _memory_table(plan: Plan) -> Table:
    budget = wording.gib(plan.machine.memory_budget)
    table = Table(title=f"Memory of one chip in GiB, of {budget}", title_justify="left")
    for number, column in enumerate(wording.MEMORY_COLUMNS):
        table.add_column(column, justify="right" if number else "left")
    for program, name in _rows(plan):
        *cells, verdict = wording.memory_row(program, name)
        table.add_row(*cells, Text(verdict, _VERDICTS[verdict]))
    return table


def _bars(plan: Plan, *, in_colour: bool) -> Table:
    """The parts of each peak against the memory of a chip."""
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for program, name in _rows(plan):
        table.add_row(name, bar(program, plan.machine.memory_budget, in_colour=in_colour))
    legend = Text()
    for part, (called, letter) in wording.PARTS.items():
        legend.append("█ " if in_colour else f"{letter} ", _COLOURS[part])
        legend.append(f"{called}  ")
    table.add_row("", legend)
    return table


def bar(program: ProgramPlan, budget: float, *, in_colour: bool) -> Text:
    """One line: a place for each fortieth of the memory; past the "|" there is none."""
    line = Text()
    filled, total = 0, 0.0
    for part, (_, letter) in wording.PARTS.items():
        total += getattr(program.parts, part)
        end = min(2 * _BAR, round(total / budget * _BAR))
        line.append(("█" if in_colour else letter) * (end - filled), _COLOURS[part])
        filled = max(filled, end)
    if filled < _BAR:
        line.append("·" * (_BAR - filled), "dim")
    text = Text.assemble(line[:_BAR], "|", line[_BAR:])
    return text.append(f" {program.peak / budget:.0%}")


def _time_table(plan: Plan) -> Table:
    table = Table(title="One run of each program, on one chip", title_justify="left")
    for number, column in enumerate(wording.TIME_COLUMNS):
        table.add_column(column, justify="right" if number else "left")
    for program, name in _rows(plan):
        table.add_row(*wording.time_row(program, name))
    return table


def this_command() -> str:
    return shlex.join(["python", *sys.argv])


def save(text: str, path: Path, console: Console) -> None:
    """Write a page, for plan.save.

    Raises: ConfigError if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise ConfigError(
            f"plan.save={path}: cannot be written ({error.strerror}).", keys=["plan.save"]
        ) from error
    console.print(f"The plan is in {path}")


def markdown(plan: Plan, command: str) -> str:
    """The plan as a page, headed by the command that makes it again."""
    return "\n".join([*heading(f"Plan: {wording.title(plan)}", command, plan), *_body(plan)]) + "\n"


def heading(title: str, command: str, plan: Plan) -> list[str]:
    """Title, command, date, versions, and where the numbers come from."""
    used = ", ".join(f"{name} {version}" for name, version in plan.versions.items())
    return [
        f"# {title}",
        "",
        f"```sh\n{command}\n```",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {used}. {wording.how(plan).capitalize()}.",
        "",
    ]


def _body(plan: Plan) -> list[str]:
    rows = _rows(plan)
    return [
        *[f"- {line}" for line in wording.conclusions(plan)],
        *[f"- To try: `{override}`" for override in wording.advice(plan)],
        "",
        f"## Memory of one chip in GiB, of {wording.gib(plan.machine.memory_budget)}",
        "",
        *markdown_table(wording.MEMORY_COLUMNS, [wording.memory_row(*row) for row in rows]),
        "",
        "## One run of each program, on one chip",
        "",
        *markdown_table(wording.TIME_COLUMNS, [wording.time_row(*row) for row in rows]),
    ]


def markdown_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    marks = ["---", *["---:"] * (len(columns) - 1)]
    return [f"| {' | '.join(row)} |" for row in (columns, marks, *rows)]
