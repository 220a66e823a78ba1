"""The largest sizes that fit a machine, and how many steps fill its session.

First what changes no result, only speed: rows and completions at once. Then, each alone and with as
little at once as can be, what does change it: lengths, and completions of a problem. Then, at the
speed that all this gives, the number of steps.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reasoning_lab.config import ConfigError
from reasoning_lab.config.mistakes import shown
from reasoning_lab.engine.grpo_batch import RowShape
from reasoning_lab.engine.programs import Phase
from reasoning_lab.experiment import Experiment
from reasoning_lab.hardware.machines import machine
from reasoning_lab.preflight.plan import Plan, make
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec

Planner = Callable[[Experiment], Plan]
Changes = Mapping[str, Any]
"""New values by dotted key."""

_TRAINING: tuple[Phase, ...] = ("SFT step", "held-out loss", "reference", "GRPO step")
_SAMPLING: tuple[Phase, ...] = ("rollout", "evaluation")
_STRAIGHT = 4  # tries after which memory does not grow in proportion, and halving is surer
_LONGEST = 8192  # tokens: what the smallest Gemma was made for
_MOST_OF_A_GROUP = 64  # completions: more than papers report


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which of ever larger values of a key still fits."""

    key: str
    candidates: tuple[int, ...]
    phases: tuple[Phase, ...]
    """Whose memory it is about."""
    also: Callable[[int], Changes] = field(default=lambda value: {})
    """What has to change with it."""

    def changes(self, value: int) -> Changes:
        return {self.key: value, **self.also(value)}


@dataclass(frozen=True, kw_only=True)
class Size:
    """The answer."""

    key: str
    now: int
    largest: int | None  # None: not even the smallest fits
    peak: float
    """Bytes of one chip with the largest that fits, or with the smallest where none does."""
    next: int | None
    """The smallest candidate that does not fit; None where all do."""


@dataclass(frozen=True, kw_only=True)
class Filling:
    """Steps that fill a session."""

    steps: int
    step_seconds: float
    besides: float
    """Seconds of what is no step: evaluations, a warm start."""
    measured: bool
    """Else at `plan.efficiency` of full speed."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What fits; `plan` is that of the experiment with `overrides`."""

    speed: tuple[Size, ...]
    learning: tuple[Size, ...]
    filling: Filling | None
    """None where the session never ends, or the machine's speed is not known."""
    overrides: tuple[str, ...]
    plan: Plan


def fit(experiment: Experiment, planner: Planner = make) -> Fit:
    """Search the largest sizes with which all programs leave `plan.margin` of the memory free.

    Raises:
        RunError: a compiler failed for another reason than too little memory.
    """
    questions = tuple(_about_speed(experiment))
    sparing = changed(experiment, {one.key: one.candidates[0] for one in questions})
    chosen: dict[str, Any] = {}
    if experiment.hardware.remat and _keeps_all(sparing, planner):
        chosen["hardware.remat"] = False  # a quarter of the arithmetic less
    speed = tuple(answer(one, changed(experiment, chosen), planner) for one in questions)
    learning = tuple(answer(one, sparing, planner) for one in _about_learning(sparing))
    for question, size in zip(questions, speed, strict=True):
        chosen[size.key] = size.largest or question.candidates[0]
    plan = planner(changed(experiment, chosen))
    filling = filling_of(plan)
    if filling is not None and filling.steps:
        chosen["stage.max_steps"] = filling.steps
        plan = planner(changed(experiment, chosen))
    overrides = tuple(f"{key}={shown(value)}" for key, value in chosen.items())
    return Fit(speed=speed, learning=learning, filling=filling, overrides=overrides, plan=plan)


def answer(question: Question, experiment: Experiment, planner: Planner) -> Size:
    """The largest candidate that fits; memory grows with them, about in proportion."""
    chip = machine(experiment.hardware.chip)
    budget = (1 - experiment.plan.margin) * chip.memory_budget
    peaks: dict[int, float] = {}

    def measure(value: int) -> float:
        plan = planner(changed(experiment, question.changes(value)))
        programs = [one for one in plan.programs if one.phase in question.phases]
        return max(math.inf if one.refused else one.peak for one in programs)

    candidates = question.candidates
    low, high, guess = -1, len(candidates), 0  # low fits, high does not
    while high - low > 1:
        value = candidates[guess]
        peaks[value] = measure(value)
        if peaks[value] <= budget:
            low = guess
        else:
            high = guess
        straight = len(peaks) <= _STRAIGHT
        guess = _predicted(candidates, peaks, budget) if straight else (low + high) // 2
        guess = min(max(guess, low + 1), high - 1)
    return Size(
        key=question.key,
        now=value_of(experiment, question.key),
        largest=candidates[low] if low >= 0 else None,
        peak=peaks[candidates[max(low, 0)]],
        next=candidates[high] if high < len(candidates) else None,
    )


def _predicted(candidates: Sequence[int], peaks: Mapping[int, float], budget: float) -> int:
    """Index of the largest candidate within budget, on the line through the outermost two."""
    known = sorted((value, peak) for value, peak in peaks.items() if peak < math.inf)
    if len(known) < 2 or known[-1][1] <= known[0][1]:
        return len(peaks)  # the next one
    (first, least), (last, most) = known[0], known[-1]
    value = first + (budget - least) * (last - first) / (most - least)
    return bisect_right(candidates, value) - 1


def _keeps_all(sparing: Experiment, planner: Planner) -> bool:
    """Whether the memory holds all activations, computing as little at once as can be."""
    plan = planner(changed(sparing, {"hardware.remat": False}))
    training = [one for one in plan.programs if one.phase in _TRAINING]
    return all(one.verdict == "fits" for one in training)


def changed(experiment: Experiment, changes: Changes) -> Experiment:
    """An experiment with other values of hardware and stage, by dotted key.

    Raises: ConfigError if they do not go together.
    """
    parts = {}
    for group in ("hardware", "stage"):
        values = {
            key.split(".")[1]: value for key, value in changes.items() if key.startswith(group)
        }
        spec: Any = getattr(experiment, group)
        parts[group] = replace(spec, **values)
    return replace(experiment, **parts)


def value_of(experiment: Experiment, key: str) -> int:
    group, name = key.split(".")
    value: int = getattr(getattr(experiment, group), name)
    return value


def _about_speed(experiment: Experiment) -> Iterator[Question]:
    stage, fsdp = experiment.stage, experiment.hardware.fsdp
    match stage:
        case SFTSpec():
            rows = stage.batch_tokens // stage.max_length // fsdp
            at_once = [n for n in range(1, rows + 1) if rows % n == 0]
            most = experiment.evaluation.problems
        case GRPOSpec():
            rows = RowShape.of(stage, 1).micro_batches
            at_once = _doubling(1, max(1, rows // fsdp))
            most = stage.batch_size * stage.num_generations
        case _:
            raise ValueError(f"{type(stage).__name__} is not planned for")
    yield Question(key="hardware.rows_per_micro_batch", candidates=tuple(at_once), phases=_TRAINING)
    key = "hardware.generation_batch_size"
    sampled = [n for n in range(fsdp, max(most, fsdp) + 1, fsdp) if _valid(experiment, {key: n})]
    # Of many, those that cut a step's completions into fewer parts.
    fewest = {-(-most // n): n for n in reversed(sampled)}
    yield Question(key=key, candidates=tuple(sorted(fewest.values())), phases=_SAMPLING)


def _about_learning(sparing: Experiment) -> Iterator[Question]:
    stage, all_phases = sparing.stage, (*_TRAINING, *_SAMPLING)
    match stage:
        case SFTSpec():
            rows = stage.batch_tokens // stage.max_length
            yield Question(
                key="stage.max_length",
                candidates=tuple(_doubling(stage.max_length, _LONGEST)),
                phases=all_phases,
                also=lambda length: {"stage.batch_tokens": rows * length},
            )
        case GRPOSpec():
            most = _LONGEST - stage.max_prompt_length
            yield Question(
                key="stage.max_completion_length",
                candidates=tuple(_doubling(stage.max_completion_length, most)),
                phases=all_phases,
                also=lambda length: {"stage.row_length": None},
            )
            groups = _doubling(stage.num_generations, max(_MOST_OF_A_GROUP, stage.num_generations))
            at_once = "hardware.generation_batch_size"
            yield Question(
                key="stage.num_generations",
                candidates=tuple(n for n in groups if _valid(sparing, _of_group(n, at_once))),
                phases=all_phases,
                also=lambda group: {at_once: _of_group(group, at_once)[at_once]},
            )


def _of_group(group: int, key: str) -> Changes:
    return {"stage.num_generations": group, key: group}


def _doubling(first: int, most: int) -> list[int]:
    return [first << n for n in range(max(1, (most // first).bit_length()))]


def _valid(experiment: Experiment, changes: Changes) -> bool:
    try:
        changed(experiment, changes)
    except ConfigError:
        return False
    return True


def filling_of(plan: Plan) -> Filling | None:
    """Steps that fill the session of a plan's machine but for the margin."""
    spec, stage = plan.experiment.plan, plan.stages[-1]
    limit = plan.experiment.hardware.time_limit_hours
    floor, whole = stage.step_floor, plan.seconds
    if limit is None or floor is None or whole is None or stage.steps.count is None:
        return None
    step, total = stage.expected_step_seconds, plan.expected_seconds
    measured = step is not None and total is not None
    if step is None or total is None:
        step, total = floor / spec.efficiency, whole / spec.efficiency
    besides = total - stage.steps.count * step
    left = (1 - spec.margin) * limit * 3600 - besides
    return Filling(
        steps=max(0, int(left / step)), step_seconds=step, besides=besides, measured=measured
    )
