"""What to do about a run that ran out of memory: what was planned, and which override helps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.engine.memory import OutOfMemoryError
from reasoning_lab.experiment import Experiment
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages.plans import read_plan
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec

SAMPLING = ("rollout", "evaluation")
"""What runs out of memory by the sequences that are generated at once; the rest by its rows."""


@contextmanager
def explaining_memory(experiment: Experiment, folder: RunFolder) -> Iterator[None]:
    """Add to an `OutOfMemoryError` inside the block what the plan had said, and what helps.

    Raises:
        RunError: in place of it.
    """
    try:
        yield
    except OutOfMemoryError as error:
        lines = [str(error), f"  {_planned(experiment)}"]
        if helps := list(_overrides(experiment, error.doing)):
            first, *others = helps
            run = folder.shared or folder.path
            lines.append(f"  Go on with: python -m reasoning_lab resume {run} {first}")
            if others:
                lines.append(f"  If that is not enough: {', then '.join(others)}")
        lines.append(f"  In a new run: {_shorter(experiment, error.doing)}")
        raise RunError("\n".join(lines)) from error


def _planned(experiment: Experiment) -> str:
    plan = read_plan(experiment)
    if plan is None:
        return "No plan was made: the same command with mode=plan says what fits."
    largest = max(plan["programs"], key=lambda program: program["peak_bytes"])
    return (
        f"The plan ({plan['how']}) said: {largest['name']} takes most, "
        f"{largest['peak_bytes'] / 1e9:.3g} of {largest['budget_bytes'] / 1e9:.3g} GB: "
        f"{largest['verdict']}."
    )


def _overrides(experiment: Experiment, doing: str) -> Iterator[str]:
    """Hardware overrides that take less memory and change nothing else; likeliest help first."""
    hardware = experiment.hardware
    smaller: list[tuple[str, Any]] = []
    if doing in SAMPLING:
        at_once = hardware.generation_batch_size
        smaller += [("generation_batch_size", at_once // n) for n in (2, 4)]
    else:
        smaller.append(("rows_per_micro_batch", hardware.rows_per_micro_batch // 2))
        smaller += [] if hardware.remat else [("remat", True)]
        smaller.append(("logit_tokens", hardware.logit_tokens // 2))
    for key, value in smaller:
        try:
            if value:
                replace(experiment, hardware=replace(hardware, **{key: value}))
                yield f"hardware.{key}={str(value).lower()}"
        except ConfigError:  # such as less than a group of completions
            continue


def _shorter(experiment: Experiment, doing: str) -> str:
    """What would make the sequences shorter; another experiment, so not for this run."""
    stage = experiment.stage
    if doing == "evaluation":
        half = experiment.evaluation.max_completion_length // 2
        return f"evaluation.max_completion_length={max(1, half)}."
    match stage:
        case GRPOSpec():
            return f"stage.max_completion_length={max(1, stage.max_completion_length // 2)}."
        case SFTSpec():
            return f"stage.max_length={max(1, stage.max_length // 2)}."
    raise TypeError(type(stage))
