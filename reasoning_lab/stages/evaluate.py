"""Measure on held-out problems: the base model as it is, the base model shown how, the tuned."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console

from reasoning_lab.data.example import Example
from reasoning_lab.data.mixture import Mixture
from reasoning_lab.engine.generate import Completion, Generator
from reasoning_lab.engine.models import Policy
from reasoning_lab.evaluation.metrics import Scored, Summary, score, summarise
from reasoning_lab.evaluation.specs import EvaluationSpec
from reasoning_lab.formats import FEW_SHOT_STOP, few_shot_prompt, render_prompt, until_next_question
from reasoning_lab.stages.progress import progress_bar


@dataclass(frozen=True)
class Judged:
    """One model asked in one way: what it wrote to every problem, and what that was worth."""

    name: str
    problems: tuple[Example, ...]
    completions: tuple[str, ...]
    scored: tuple[Scored, ...]

    @property
    def summary(self) -> Summary:
        return summarise(self.name, self.scored)

    def records(self) -> list[dict[str, str | float | bool]]:
        """One JSON-ready record a completion, for samples.jsonl."""
        return [
            {
                "model": self.name,
                "question": problem.question,
                "completion": completion,
                "answer": problem.answer,
                **asdict(scored),
            }
            for problem, completion, scored in zip(
                self.problems, self.completions, self.scored, strict=True
            )
        ]


def evaluate_tuned(
    policy: Policy,
    problems: Sequence[Example],
    spec: EvaluationSpec,
    *,
    batch_size: int,
    console: Console,
) -> Judged:
    """The tuned model, asked zero-shot in Gemma's turn template, greedily."""
    generator = policy.generator(batch_size=batch_size)
    prompts = [policy.tokenizer.prompt(render_prompt(p.question)) for p in problems]
    return _judge("tuned", generator, prompts, problems, spec, console)


def evaluate_base(
    policy: Policy,
    mixture: Mixture,
    spec: EvaluationSpec,
    *,
    batch_size: int,
    console: Console,
) -> list[Judged]:
    """The untuned model on the same problems: zero-shot exactly as the tuned one, and few-shot.

    The few-shot prompt shows training problems of the same source as plain text. Its completion
    ends where the model goes on to invent a question of its own, because it was never taught an end
    marker.
    """
    problems = mixture.held_out
    zero_shot = policy.generator(batch_size=batch_size, base_only=True)
    prompts = [policy.tokenizer.prompt(render_prompt(p.question)) for p in problems]
    judged = [_judge("base, zero-shot", zero_shot, prompts, problems, spec, console)]
    if spec.few_shot:
        few_shot = policy.generator(batch_size=batch_size, base_only=True, stop=FEW_SHOT_STOP)
        prompts = [
            policy.tokenizer.plain_prompt(
                few_shot_prompt(mixture.shots(p.source, spec.few_shot), p.question)
            )
            for p in problems
        ]
        name = f"base, {spec.few_shot}-shot"
        judged.append(_judge(name, few_shot, prompts, problems, spec, console, until_next_question))
    return judged


def _judge(
    name: str,
    generator: Generator,
    prompts: Sequence[list[int]],
    problems: Sequence[Example],
    spec: EvaluationSpec,
    console: Console,
    cut: Callable[[str], str] = str,
) -> Judged:
    with progress_bar(console, f"evaluate {name}", len(problems)) as bar:
        completions: list[Completion] = generator.complete(
            prompts, spec.max_completion_length, on_progress=bar.update
        )
    texts = tuple(cut(completion.text) for completion in completions)
    scored = tuple(
        score(text, problem, truncated=completion.truncated)
        for text, problem, completion in zip(texts, problems, completions, strict=True)
    )
    return Judged(name, tuple(problems), texts, scored)
