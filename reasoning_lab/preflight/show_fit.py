"""`mode=fit`: search the sizes that fit, show them, and say which overrides to use."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reasoning_lab.config.build import leaves, to_mapping
from reasoning_lab.config.mistakes import shown
from reasoning_lab.experiment import Experiment
from reasoning_lab.preflight import record, wording
from reasoning_lab.preflight.fit import Filling, Fit, Planner, Size, fit
from reasoning_lab.preflight.plan import Plan, make
from reasoning_lab.preflight.show import heading, markdown_table, save, show, this_command
from reasoning_lab.stages.progress import make_console, progress_bar
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec

_COLUMNS = ("key", "now", "largest that fits", "GiB a chip", "")


def print_fit(experiment: Experiment) -> None:
    """Search the largest sizes; print them, the overrides to use, and the plan with those.

    Raises:
        ConfigError: plan.save cannot be written.
        RunError: a compiler failed.
    """
    console = make_console()
    with _telling(experiment, Console(stderr=True)) as planner:
        found = fit(experiment, planner)
    record.keep(found.plan)
    console.print(Text(_title(found), "bold"))
    console.print(_table(found))
    for line in conclusions(found):
        console.print(Text(line))
    console.print(Text(f"Use: {' '.join(found.overrides)}", "bold"))
    console.print(Text("\nThe plan with these:\n"))
    show(found.plan, console)
    if experiment.plan.save is not None:
        save(markdown(found, this_command()), Path(experiment.plan.save), console)


@contextmanager
def _telling(experiment: Experiment, console: Console) -> Iterator[Planner]:
    """Plans, and says on the way what is tried."""
    given = dict(leaves(to_mapping(experiment)))

    with progress_bar(console, "compile", 1) as bar:

        def plan(candidate: Experiment) -> Plan:
            tried = [
                f"{key}={shown(value)}"
                for key, value in leaves(to_mapping(candidate))
                if given.get(key) != value
            ]
            console.print(Text(f"trying {' '.join(tried) or 'it as it is'}", "dim"))
            return make(candidate, bar.set)

        yield plan


def conclusions(found: Fit) -> list[str]:
    """What the table does not say, a sentence a line."""
    margin = f"{found.plan.experiment.plan.margin:.0%}"
    lines = [
        (
            f"A size fits if {margin} of the memory stays free. Those of the stage change what is "
            "learned; each was tried alone, with as little as possible at once."
        )
    ]
    if found.filling is not None:
        lines.append(_filling(found.filling, found.plan))
    return lines


def markdown(found: Fit, command: str) -> str:
    """All of it as a page, headed by the command that makes it again."""
    sizes = (*found.speed, *found.learning)
    lines = [
        *heading(_title(found), command, found.plan),
        *markdown_table(_COLUMNS, [_row(size) for size in sizes]),
        "",
        *[f"- {line}" for line in conclusions(found)],
        "",
        f"```sh\n{' '.join(found.overrides)}\n```",
        "",
        *[f"- {line}" for line in wording.conclusions(found.plan)],
    ]
    return "\n".join(lines) + "\n"


def _title(found: Fit) -> str:
    return f"What fits: {wording.title(found.plan)}"


def _table(found: Fit) -> Table:
    table = Table()
    for number, column in enumerate(_COLUMNS):
        table.add_column(column, justify="right" if 0 < number < 4 else "left")
    for size in (*found.speed, *found.learning):
        table.add_row(*_row(size))
    return table


def _row(size: Size) -> tuple[str, ...]:
    if size.largest is None:
        remark = "not even the smallest fits"
    elif size.next is None:
        remark = "more was not tried"
    else:
        remark = f"{size.next:,} does not fit"
    largest = "none" if size.largest is None else f"{size.largest:,}"
    return (size.key, f"{size.now:,}", largest, wording.gib(size.peak), remark)


def _filling(filling: Filling, plan: Plan) -> str:
    experiment, stage = plan.experiment, plan.experiment.stage
    limit = experiment.hardware.time_limit_hours
    speed = (
        "as measured"
        if filling.measured
        else f"at {experiment.plan.efficiency:.0%} of full speed (plan.efficiency; a run will tell)"
    )
    if not filling.steps:
        return (
            f"Time: the {limit:g} hours are over before the first step: all that is no step takes "
            f"{wording.duration(filling.besides)}. Evaluate less: evaluation.problems, "
            "stage.eval_every."
        )
    text = (
        f"Time: {filling.steps:,} steps of {wording.duration(filling.step_seconds)}, {speed}, fill "
        f"the {limit:g} hours but for {experiment.plan.margin:.0%}, with "
        f"{wording.duration(filling.besides)} for evaluations. That is "
    )
    match stage:
        case SFTSpec():
            rows = filling.steps * (stage.batch_tokens // stage.max_length)
            return f"{text}{rows:,} rows of {stage.max_length:,} tokens."
        case GRPOSpec():
            problems = filling.steps * stage.batch_size
            completions = problems * stage.num_generations
            return f"{text}{problems:,} problems and {completions:,} completions."
        case _:
            return text
