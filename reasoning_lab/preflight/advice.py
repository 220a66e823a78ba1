"""What to change where a run does not fit: overrides that are valid, best first."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import Experiment
from reasoning_lab.preflight.fit import filling_of
from reasoning_lab.preflight.plan import Plan, ProgramPlan
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec


def overrides_to_try(plan: Plan) -> list[str]:
    """For the largest program of each kind that does not fit or is tight; none where all fit."""
    tried: dict[str, None] = {}
    for program in sorted(plan.programs, key=lambda one: -one.peak):
        if program.verdict != "fits":
            budget = (1 - plan.experiment.plan.margin) * plan.machine.memory_budget
            halvings = max(1, math.ceil(math.log2(program.peak / budget)))
            tried |= dict.fromkeys(_for_memory(program, plan.experiment, 2**halvings))
    if plan.fits_in_time is False:
        filling = filling_of(plan)
        if filling is not None and filling.steps:
            tried[f"stage.max_steps={filling.steps}"] = None
    return list(tried)


def _for_memory(program: ProgramPlan, experiment: Experiment, over: int) -> Iterator[str]:
    """Sizes as many times smaller as the program is over what it may take."""
    hardware, stage = experiment.hardware, experiment.stage
    if program.phase in ("rollout", "evaluation"):
        yield from _smaller(experiment, "hardware.generation_batch_size", over, least=1)
        return
    yield from _smaller(experiment, "hardware.rows_per_micro_batch", over, least=1)
    if program.work.program.trains and not hardware.remat:
        yield "hardware.remat=true"
    if program.parts.logits > 0.2 * program.peak:
        yield from _smaller(experiment, "hardware.logit_tokens", over, least=16)
    if hardware.param_dtype == "float32":
        yield "hardware.param_dtype=bfloat16"
    match stage:
        case SFTSpec():
            yield from _smaller(experiment, "stage.max_length", over, least=64)
        case GRPOSpec():
            yield from _smaller(experiment, "stage.max_completion_length", over, least=16)


def _smaller(experiment: Experiment, key: str, times: int, *, least: int) -> Iterator[str]:
    """So many times less, or the largest half of halves below that the experiment is valid with."""
    group, name = key.split(".")
    spec: Any = getattr(experiment, group)
    now = getattr(spec, name)
    value = max(least, now // times)
    while least <= value < now:
        try:
            replace(experiment, **{group: replace(spec, **{name: value})})
        except ConfigError:
            value //= 2
            continue
        yield f"{key}={value}"
        return
