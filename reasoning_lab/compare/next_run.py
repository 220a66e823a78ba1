"""Which run of a sweep is worth buying next, as a command."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from reasoning_lab.compare.comparison import Axis, ComparedRun, Pair, Setting
from reasoning_lab.compare.effects import Findings
from reasoning_lab.compare.find import Sweep
from reasoning_lab.compare.sweep_command import command_with, value_beyond
from reasoning_lab.compare.wording import counted, in_a_row

_SEED = "seed"
_FIRST_REPLICATES = 2  # more seeds for what has been trained with a single one
MOST_MORE_SEEDS = 16  # of each setting; a difference that takes more is too small to pay for
_STOPPED = ("failed", "killed", "interrupted")


@dataclass(frozen=True)
class Advice:
    """command: "" where nothing is worth running, or no sweep to run it in. reason: a sentence."""

    command: str
    reason: str


def advise(
    findings: Findings,
    runs: Sequence[ComparedRun],
    axes: Sequence[Axis],
    sweep: Sweep | None,
    *,
    winner: Setting | None,
    contenders: Sequence[Setting],
) -> Advice:
    """What to run next: what is unfinished, then seeds for contenders, then beyond the edge."""
    under_way = [run for run in runs if run.state == "running"]
    if under_way:
        return Advice("", f"{counted(len(under_way), 'run')} under way: compare again later.")
    unfinished = _unfinished(runs, sweep)
    if unfinished is not None:
        return unfinished
    if not findings.same_problems:
        return Advice(
            "",
            "Measure the models on the same problems: python -m reasoning_lab evaluate RUN "
            "data=NAME.",
        )
    if findings.basis == "problems" or (findings.basis is None and len(contenders) > 1):
        rivals = contenders if winner is None else findings.settings[:2]
        scored = [setting for setting in rivals if setting.estimate is not None]
        return _more_seeds(
            scored,
            runs,
            sweep,
            _FIRST_REPLICATES,
            "Only further seeds can say which setting is better, not just which trained model",
        )
    if winner is not None:
        return _beyond_the_edge(winner, runs, axes, sweep)
    if len(contenders) > 1:
        return _tell_apart(findings.pairs, contenders, runs, sweep)
    return Advice("", "")


def more_seeds(pairs: Sequence[Pair], contenders: Sequence[Setting]) -> dict[str, int]:
    """Further seeds that would tell each contender from the first, by label.

    Left out are those that are equal to it, for which no number would do.
    """
    top, *others = contenders
    needed = {pair.other: pair.more_needed for pair in pairs if pair.better == top.label}
    return {
        other.label: max(1, count - min(len(top.scores), len(other.scores)))
        for other in others
        if (count := needed[other.label]) is not None
    }


def _unfinished(runs: Sequence[ComparedRun], sweep: Sweep | None) -> Advice | None:
    stopped = [run for run in runs if run.state in _STOPPED]
    waiting = [run for run in runs if run.state == "waiting"]
    if not stopped and not waiting:
        return None
    parts = [
        f"{len(stopped)} stopped before the end" if stopped else "",
        f"{len(waiting)} never started" if waiting else "",
    ]
    reason = f"Of {counted(len(runs), 'run')} {' and '.join(filter(None, parts))}"
    if sweep is None or not sweep.command:
        names = in_a_row([run.name for run in stopped or waiting])
        return Advice("", f"{reason}: finish {names} first (python -m reasoning_lab resume RUN).")
    command = command_with(sweep, {}, retry_failed=bool(stopped))
    return Advice(command, f"{reason}: finish them before judging.")


def _tell_apart(
    pairs: Sequence[Pair],
    contenders: Sequence[Setting],
    runs: Sequence[ComparedRun],
    sweep: Sweep | None,
) -> Advice:
    top, *others = contenders
    more = more_seeds(pairs, contenders)
    payable = {label: count for label, count in more.items() if count <= MOST_MORE_SEEDS}
    if not payable:
        return Advice(
            "",
            f"The differences are so small that it would take more than {MOST_MORE_SEEDS} further "
            "seeds of each to tell them apart: take the cheapest.",
        )
    chosen = [top, *(other for other in others if other.label in payable)]
    count = max(payable.values())
    return _more_seeds(
        chosen,
        runs,
        sweep,
        count,
        f"{counted(count, 'more seed')} each would tell {in_a_row([s.label for s in chosen])} "
        "apart, if the differences are what they look like",
    )


def _more_seeds(
    settings: Sequence[Setting],
    runs: Sequence[ComparedRun],
    sweep: Sweep | None,
    count: int,
    reason: str,
) -> Advice:
    first = max(run.seed for run in runs) + 1
    seeds = [str(seed) for seed in range(first, first + count)]
    if sweep is None or not sweep.command or not _are_keys_of(settings, sweep):
        return Advice("", f"{reason}: train each again with seed={','.join(seeds)}.")
    values = {
        axis: list(dict.fromkeys(setting.values[axis] for setting in settings))
        for axis in settings[0].values
    }
    cost = counted(count * prod(map(len, values.values())), "run")
    return Advice(command_with(sweep, {**values, _SEED: seeds}), f"{reason} ({cost}).")


def _are_keys_of(settings: Sequence[Setting], sweep: Sweep) -> bool:
    return all(axis in sweep.axes for setting in settings for axis in setting.values)


def _beyond_the_edge(
    winner: Setting, runs: Sequence[ComparedRun], axes: Sequence[Axis], sweep: Sweep | None
) -> Advice:
    if sweep is None or not sweep.command or not _are_keys_of([winner], sweep):
        return Advice("", "")
    for axis in axes:
        beyond = value_beyond(axis, winner.values[axis.name])
        if beyond is None:
            continue
        values = {name: [value] for name, value in winner.values.items()}
        seeds = [str(seed) for seed in sorted({run.seed for run in runs})]
        command = command_with(sweep, {**values, axis.name: [beyond], _SEED: seeds})
        return Advice(
            command,
            f"{axis.name}={winner.values[axis.name]} is at the edge of what was tried: "
            f"{beyond} may do better still ({counted(len(seeds), 'run')}).",
        )
    return Advice("", "")
