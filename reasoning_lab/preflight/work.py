"""What a run will do: which programs, how often; from the experiment alone, without its data."""

from collections.abc import Iterator
from dataclasses import dataclass

from reasoning_lab.engine.programs import Program, Setting
from reasoning_lab.engine.run_programs import evaluation_programs, grpo_programs, sft_programs
from reasoning_lab.experiment import Experiment
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How many optimizer steps a stage takes.

    count: None where only the data know.
    at_most: examples that are dropped or share a row make fewer.
    tokens: of one step: those of the rows of supervised fine-tuning, padding included, and those
        that are sampled in reinforcement learning, if all completions are as long as they may be.
    """

    count: int | None
    at_most: bool
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """A program, and how often it runs: in each step, and besides over the whole run."""

    program: Program
    in_a_step: int = 0
    besides: int = 0

    def times(self, steps: int) -> int:
        return self.in_a_step * steps + self.besides


def steps_of(experiment: Experiment) -> Steps:
    """Raises: ValueError for a stage that is not planned for."""
    match experiment.stage:
        case SFTSpec() as stage:
            rows_of_step = stage.batch_tokens // stage.max_length
            if stage.max_steps is not None:
                return Steps(count=stage.max_steps, at_most=False, tokens=stage.batch_tokens)
            rows = [source.rows for source in experiment.data.sources.values()]
            known = [count for count in rows if count is not None]
            if len(known) < len(rows):
                return Steps(count=None, at_most=False, tokens=stage.batch_tokens)
            count = max(1, round(stage.epochs * sum(known) / rows_of_step))
            return Steps(count=count, at_most=True, tokens=stage.batch_tokens)
        case GRPOSpec() as stage:
            sampled = stage.batch_size * stage.num_generations * stage.max_completion_length
            return Steps(count=stage.max_steps, at_most=False, tokens=sampled)
        case stage:
            raise ValueError(f"{type(stage).__name__} is not planned for")


def work_of(experiment: Experiment) -> list[Work]:
    """All that a run compiles and runs, training first."""
    setting = Setting.of(experiment.model, experiment.lora, experiment.hardware)
    steps = steps_of(experiment).count or 0
    match experiment.stage:
        case SFTSpec() as stage:
            return [*_sft(experiment, setting, stage, steps), *_sft_answers(experiment, setting)]
        case GRPOSpec() as stage:
            return [*_grpo(experiment, setting, stage), *_grpo_answers(experiment, setting, stage)]
        case stage:
            raise ValueError(f"{type(stage).__name__} is not planned for")


def _sft(experiment: Experiment, setting: Setting, stage: SFTSpec, steps: int) -> Iterator[Work]:
    hardware = experiment.hardware
    for program in sft_programs(setting, stage, hardware):
        if program.trains:
            yield Work(program=program, in_a_step=1)
        else:
            held_out = experiment.evaluation.problems * len(experiment.data.sources)
            batches = -(-held_out // hardware.rows_at_once)
            yield Work(program=program, besides=batches * -(-steps // stage.eval_every))


def _grpo(experiment: Experiment, setting: Setting, stage: GRPOSpec) -> Iterator[Work]:
    for program in grpo_programs(setting, stage, experiment.hardware):
        match program.phase:
            case "rollout":
                yield Work(program=program, in_a_step=program.calls(stage.batch_size))
            case "GRPO step":
                yield Work(program=program, in_a_step=stage.num_iterations)
            case _:
                yield Work(program=program, in_a_step=1)


def _sft_answers(experiment: Experiment, setting: Setting) -> Iterator[Work]:
    spec, stage = experiment.evaluation, experiment.stage
    assert isinstance(stage, SFTSpec)
    problems = spec.problems * len(experiment.data.sources)
    models = 1 + _untuned(experiment)
    yield from _answers(experiment, setting, [problems] * models, stage.max_length)


def _grpo_answers(experiment: Experiment, setting: Setting, stage: GRPOSpec) -> Iterator[Work]:
    spec, sources = experiment.evaluation, len(experiment.data.sources)
    begins_elsewhere = experiment.init_from is not None or not spec.baseline
    models = 1 + _untuned(experiment) + begins_elsewhere
    evaluations = [spec.problems * sources] * models
    if stage.eval_every:
        while_training = 1 + -(-stage.max_steps // stage.eval_every)
        evaluations += [stage.eval_problems * sources] * while_training
    yield from _answers(experiment, setting, evaluations, stage.max_prompt_length)


def _untuned(experiment: Experiment) -> int:
    """How many times the untuned model is evaluated."""
    spec = experiment.evaluation
    return (1 + bool(spec.few_shot)) if spec.baseline else 0


def _answers(
    experiment: Experiment, setting: Setting, evaluations: list[int], prompt_length: int
) -> Iterator[Work]:
    """Evaluations, each of so many problems: one answer a problem, and `pass_at` more."""
    spec, hardware = experiment.evaluation, experiment.hardware
    programs = evaluation_programs(
        setting,
        hardware,
        problems=max(evaluations),
        prompt_length=prompt_length,
        new_tokens=spec.max_completion_length,
    )
    counts = [*evaluations]
    if spec.pass_at > 1:
        counts += [problems * spec.pass_at for problems in evaluations]
    batches = sum(-(-count // hardware.generation_batch_size) for count in counts)
    for program in programs:
        yield Work(program=program, besides=batches)
