"""What to change where a run does not fit: overrides that are valid, best first."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import Experiment
from reasoning_lab.preflight.plan import Plan, ProgramPlan
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec


def overrides_to_try(plan: Plan) -> list[str]:
    """For the largest program of each kind that does not fit or is tight; none where all fit."""
    tried: dict[str, None] = {}
    for program in sorted(plan.programs, key=lambda one: -one.peak):
        if program.verdict != "fits":
            tried |= dict.fromkeys(_for_memory(program, plan.experiment))
    if plan.fits_in_time is False:
        tried |= dict.fromkeys(_for_time(plan))
    return list(tried)


def _for_memory(program: ProgramPlan, experiment: Experiment) -> Iterator[str]:
    hardware, stage = experiment.hardware, experiment.stage
    if program.phase in ("rollout", "evaluation"):
        yield from _valid(experiment, "hardware", "generation_batch_size", halves_down_to=1)
        return
    yield from _valid(experiment, "hardware", "rows_per_micro_batch", halves_down_to=1)
    if program.work.program.trains and not hardware.remat:
        yield "hardware.remat=true"
    if program.parts.logits > 0.2 * program.peak:
        yield from _valid(experiment, "hardware", "logit_tokens", halves_down_to=16)
    if hardware.param_dtype == "float32":
        yield "hardware.param_dtype=bfloat16"
    match stage:
        case SFTSpec():
            yield from _valid(experiment, "stage", "max_length", halves_down_to=64)
        case GRPOSpec():
            yield from _valid(experiment, "stage", "max_completion_length", halves_down_to=16)


def _valid(experiment: Experiment, group: str, name: str, *, halves_down_to: int) -> Iterator[str]:
    """Half of what it is, or the largest half of halves that the experiment is valid with."""
    spec: Any = getattr(experiment, group)
    value = getattr(spec, name) // 2
    while value >= halves_down_to:
        try:
            replace(experiment, **{group: replace(spec, **{name: value})})
        except ConfigError:
            value //= 2
            continue
        yield f"{group}.{name}={value}"
        return


def _for_time(plan: Plan) -> Iterator[str]:
    """As many steps as the time limit has room for, with a tenth to spare."""
    limit = plan.experiment.hardware.time_limit_hours
    stage = plan.stages[-1]
    seconds = plan.expected_seconds or plan.seconds
    own = stage.expected_seconds or stage.floor
    if limit is None or seconds is None or own is None or stage.steps.count is None:
        return
    left = 0.9 * limit * 3600 - (seconds - own)
    steps = int(stage.steps.count * left / own)
    if steps >= 1:
        yield f"stage.max_steps={steps}"
