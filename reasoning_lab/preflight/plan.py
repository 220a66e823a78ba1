"""The plan of a run: what it needs and how long it takes, before anything runs.

`make` is all that others need. It touches no device and no data.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from reasoning_lab.engine.programs import Phase, Program
from reasoning_lab.experiment import Experiment
from reasoning_lab.hardware.machines import Machine, machine
from reasoning_lab.preflight.compiled import Compiled, Setup
from reasoning_lab.preflight.compiling import (
    NoCompilerError,
    OnProgress,
    compile_all,
    versions,
)
from reasoning_lab.preflight.estimate import estimated
from reasoning_lab.preflight.expected import Expected, expected_of_phases
from reasoning_lab.preflight.extrapolate import Kinds, extrapolated, probes
from reasoning_lab.preflight.memory import Parts, known_parts, resident_besides, state_of
from reasoning_lab.preflight.work import Steps, Work, steps_of, work_of
from reasoning_lab.stages.parents import start_of

How = Literal["extrapolated", "compiled, not run", "estimated, no compiler"]
Verdict = Literal["fits", "tight", "does not fit"]
VERDICTS: tuple[Verdict, ...] = ("fits", "tight", "does not fit")


@dataclass(frozen=True, kw_only=True)
class ProgramPlan:
    """One program on one chip."""

    work: Work
    parts: Parts
    """Of the peak: with all that the run keeps in memory, also what this program does not use."""
    verdict: Verdict
    refused: bool
    """By the compiler: the peak is what it named, not extrapolated."""
    flops: float
    bytes: float
    floor: float | None
    """Seconds that it takes at least; None where the chip's speed is not known."""
    compile_seconds: float

    @property
    def name(self) -> str:
        return self.work.program.name

    @property
    def phase(self) -> Phase:
        return self.work.program.phase

    @property
    def peak(self) -> float:
        return self.parts.total


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One training: the experiment's own, or the warm start before it."""

    experiment: Experiment
    steps: Steps
    programs: tuple[ProgramPlan, ...]
    expected: dict[Phase, Expected]
    """Seconds of a step, where something was measured."""

    @property
    def step_floor(self) -> float | None:
        """Seconds that a step takes at least."""
        return _sum(
            None if one.floor is None else one.floor * one.work.in_a_step for one in self.programs
        )

    def phase_floor(self, phase: Phase) -> float | None:
        """Seconds of a step that a phase takes at least."""
        return _sum(
            None if one.floor is None else one.floor * one.work.in_a_step
            for one in self.programs
            if one.phase == phase
        )

    @property
    def floor(self) -> float | None:
        """Seconds that all of it takes at least; None also where the steps are not known."""
        count = self.steps.count
        if count is None:
            return None
        return _sum(
            None if one.floor is None else one.floor * one.work.times(count)
            for one in self.programs
        )

    @property
    def expected_step_seconds(self) -> float | None:
        """Seconds of a step by what was measured; None where nothing was."""
        phases = {one.phase for one in self.programs if one.work.in_a_step}
        if not phases <= self.expected.keys():
            return None
        return sum(self.expected[phase].seconds for phase in phases)

    @property
    def expected_seconds(self) -> float | None:
        """Measured steps, and evaluations at their floor times what steps take over theirs."""
        step = self.expected_step_seconds
        if self.steps.count is None or step is None:
            return None
        training = self.steps.count * step
        floor = self.floor
        if floor is None or self.step_floor is None:
            return training
        besides = floor - self.steps.count * self.step_floor
        slower = training / (self.steps.count * self.step_floor)
        return training + besides * slower


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run needs. Bytes are those of one chip."""

    experiment: Experiment
    machine: Machine
    how: How
    why_estimated: str
    """Why there was no compiler; empty where there was one."""
    stages: tuple[StagePlan, ...]
    versions: dict[str, str]

    @property
    def programs(self) -> tuple[ProgramPlan, ...]:
        return tuple(program for stage in self.stages for program in stage.programs)

    @property
    def worst(self) -> ProgramPlan:
        """The program that decides: of those with the worst verdict the one that needs most."""
        return max(self.programs, key=lambda one: (VERDICTS.index(one.verdict), one.peak))

    @property
    def verdict(self) -> Verdict:
        return self.worst.verdict

    @property
    def seconds(self) -> float | None:
        """What it takes at least; None where speed or steps are not known."""
        return _sum(stage.floor for stage in self.stages)

    @property
    def expected_seconds(self) -> float | None:
        """What it takes by what was measured; None where nothing was."""
        return _sum(stage.expected_seconds for stage in self.stages)

    @property
    def compile_seconds(self) -> float:
        return sum(program.compile_seconds for program in self.programs)

    @property
    def fits_in_time(self) -> bool | None:
        """Whether it ends within hardware.time_limit_hours; None: no limit, or not known."""
        limit = self.experiment.hardware.time_limit_hours
        seconds = self.expected_seconds or self.seconds
        return None if limit is None or seconds is None else seconds <= limit * 3600


def make(experiment: Experiment, on_progress: OnProgress = lambda done, of: None) -> Plan:
    """Plan a run on the machine that its `hardware` describes.

    Programs that were compiled before are read from the cache, in this process or another: a search
    over sizes compiles only what a size changes.

    Raises:
        RunError: a compiler failed for another reason than too little memory.
    """
    spec, hardware = experiment.plan, experiment.hardware
    chip = machine(hardware.chip)
    experiments = [experiment]
    if experiment.warm_start is not None:
        experiments = [start_of(experiment), replace(experiment, warm_start=None)]
    work = [work_of(one) for one in experiments]
    setup = Setup(machine=chip, fsdp=hardware.fsdp, tp=hardware.tp, quick=not spec.full)
    programs = list(dict.fromkeys(one.program for of_stage in work for one in of_stage))
    how: How = "compiled, not run" if spec.full else "extrapolated"
    why = ""
    try:
        found = _compiled(setup, programs, full=spec.full, on_progress=on_progress)
    except NoCompilerError as error:
        how, why = "estimated, no compiler", str(error)
        found = {one: estimated(one, hardware.fsdp, hardware.tp) for one in programs}
    # The TPU's compiler, told to work less, leaves more in HBM than it does for a run.
    counted = how == "compiled, not run" or (how == "extrapolated" and chip.platform == "cuda")
    stages = tuple(
        _stage(one, of_stage, found, chip, bytes_are_those_of_a_run=counted)
        for one, of_stage in zip(experiments, work, strict=True)
    )
    return Plan(
        experiment=experiment,
        machine=chip,
        how=how,
        why_estimated=why,
        stages=stages,
        versions=versions(),
    )


def _compiled(
    setup: Setup, programs: list[Program], *, full: bool, on_progress: OnProgress
) -> dict[Program, Compiled]:
    if full:
        return dict(zip(programs, compile_all(setup, programs, on_progress), strict=True))
    shallow: dict[tuple[Program, Kinds], Program] = {
        (program, kinds): program.with_layers(kinds)
        for program in programs
        for kinds in probes(program.setting.arch, program.tokens)
    }
    answers = compile_all(setup, list(shallow.values()), on_progress)
    measured: dict[Program, dict[Kinds, Compiled]] = {program: {} for program in programs}
    for (program, kinds), answer in zip(shallow, answers, strict=True):
        measured[program][kinds] = answer
    return {
        program: extrapolated(program.setting.arch, of_program)
        for program, of_program in measured.items()
    }


def _stage(
    experiment: Experiment,
    work: list[Work],
    found: dict[Program, Compiled],
    chip: Machine,
    *,
    bytes_are_those_of_a_run: bool,
) -> StagePlan:
    hardware, margin = experiment.hardware, experiment.plan.margin
    state = state_of([one.program for one in work], hardware.fsdp, hardware.tp)
    programs = []
    for one in work:
        compiled = found[one.program]
        parts = _parts(one.program, compiled, state, hardware.fsdp, hardware.tp)
        programs.append(
            ProgramPlan(
                work=one,
                parts=parts,
                verdict=verdict_of(parts.total, chip.memory_budget, margin, compiled.refused),
                refused=compiled.refused,
                flops=compiled.flops,
                bytes=compiled.bytes,
                floor=floor_seconds(
                    compiled.flops,
                    compiled.bytes
                    if bytes_are_those_of_a_run
                    else least_bytes(one.program, parts, chip),
                    chip,
                ),
                compile_seconds=compiled.seconds,
            )
        )
    plan = StagePlan(
        experiment=experiment, steps=steps_of(experiment), programs=tuple(programs), expected={}
    )
    floors = {one.phase: plan.phase_floor(one.phase) for one in programs if one.work.in_a_step}
    return replace(plan, expected=expected_of_phases(experiment, floors))


def _parts(program: Program, compiled: Compiled, state: float, fsdp: int, tp: int) -> Parts:
    known = known_parts(program, fsdp, tp, state)
    peak = compiled.peak + resident_besides(program, compiled, fsdp, tp, state)
    rest = peak - known.total
    # Logits may never exist as a whole: what is fused away is not in the peak.
    return replace(known, logits=max(0.0, known.logits + min(0.0, rest)), rest=max(0.0, rest))


def verdict_of(peak: float, budget: float, margin: float, refused: bool = False) -> Verdict:
    if refused or peak > budget:
        return "does not fit"
    return "fits" if peak <= (1 - margin) * budget else "tight"


def floor_seconds(flops: float, moved: float, chip: Machine) -> float | None:
    """The time that arithmetic or memory alone takes at full speed (the roofline model): whatever
    else there is, transfers between chips included, comes on top."""
    if chip.flops is None or chip.bandwidth is None:
        return None
    return max(flops / chip.flops, moved / chip.bandwidth)


def least_bytes(program: Program, parts: Parts, chip: Machine) -> float:
    """What any compiler's program must fetch: weights and cache, once a token that is written."""
    return program.loop_trips * max(0.0, parts.base + parts.cache - chip.on_chip)


def _sum(values: Iterable[float | None]) -> float | None:
    """None as soon as one of them is not known."""
    known = list(values)
    return None if None in known else float(sum(value for value in known if value is not None))
