"""Measure on held-out problems: the base model as it is, the base model shown how, the tuned."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from rich.console import Console

from reasoning_lab.data.example import Example
from reasoning_lab.data.mixture import Mixture
from reasoning_lab.engine.generate import Completion, Generator
from reasoning_lab.engine.memory import naming_memory
from reasoning_lab.engine.models import Policy
from reasoning_lab.evaluation.metrics import Scored, Summary, score, summarise
from reasoning_lab.evaluation.specs import EvaluationSpec
from reasoning_lab.formats import FEW_SHOT_STOP, few_shot_prompt, render_prompt, until_next_question
from reasoning_lab.rewards.correctness import is_right
from reasoning_lab.rewards.specs import Attempt
from reasoning_lab.stages.progress import progress_bar

Rate = Callable[[Sequence[Attempt]], Sequence[float]]


@dataclass(frozen=True)
class Judged:
    """One model asked in one way: what it wrote to every problem, and what that was worth.

    completions, scored: one greedy completion a problem.
    samples: sampled completions of each problem besides, for pass@k; 0: none.
    right_samples: how many of these are right, for each problem; empty if there are none.
    """

    name: str
    problems: tuple[Example, ...]
    completions: tuple[str, ...]
    scored: tuple[Scored, ...]
    samples: int = 0
    right_samples: tuple[int, ...] = ()

    @property
    def summary(self) -> Summary:
        return summarise(
            self.name, self.scored, right_samples=self.right_samples, samples=self.samples
        )

    def records(self) -> list[dict[str, str | float | bool | None]]:
        """One JSON-ready record a problem, for samples.jsonl."""
        records: list[dict[str, str | float | bool | None]] = [
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
        for line, right in zip(records, self.right_samples, strict=False):
            line |= {"samples": self.samples, "right_samples": right}
        return records


def evaluate_tuned(
    policy: Policy,
    problems: Sequence[Example],
    spec: EvaluationSpec,
    *,
    batch_size: int,
    console: Console,
    name: str = "tuned",
    seed: int = 0,
    rate: Rate | None = None,
) -> Judged:
    """The tuned model, asked zero-shot in Gemma's turn template, under the given name.

    Args:
        seed: that of the completions sampled for pass@k.
        rate: what completions earn, where they are rewarded.
    """
    generator = policy.generator(batch_size=batch_size)
    prompts = [policy.tokenizer.prompt(render_prompt(p.question)) for p in problems]
    return _judge(name, generator, prompts, problems, spec, console, seed, rate)


def evaluate_base(
    policy: Policy,
    mixture: Mixture,
    spec: EvaluationSpec,
    *,
    batch_size: int,
    console: Console,
    seed: int = 0,
    rate: Rate | None = None,
) -> list[Judged]:
    """The untuned model on the same problems: zero-shot exactly as the tuned one, and few-shot.

    The few-shot prompt shows training problems of the same source as plain text. Its completion
    ends where the model goes on to invent a question of its own, because it was never taught an end
    marker.
    """
    problems = mixture.held_out
    zero_shot = policy.generator(batch_size=batch_size, base_only=True)
    prompts = [policy.tokenizer.prompt(render_prompt(p.question)) for p in problems]
    judged = [_judge("base, zero-shot", zero_shot, prompts, problems, spec, console, seed, rate)]
    if spec.few_shot:
        few_shot = policy.generator(batch_size=batch_size, base_only=True, stop=FEW_SHOT_STOP)
        prompts = [
            policy.tokenizer.plain_prompt(
                few_shot_prompt(mixture.shots(p.source, spec.few_shot), p.question)
            )
            for p in problems
        ]
        name = f"base, {spec.few_shot}-shot"
        judged.append(
            _judge(
                name, few_shot, prompts, problems, spec, console, seed, rate, until_next_question
            )
        )
    return judged


def _judge(
    name: str,
    generator: Generator,
    prompts: Sequence[list[int]],
    problems: Sequence[Example],
    spec: EvaluationSpec,
    console: Console,
    seed: int,
    rate: Rate | None,
    cut: Callable[[str], str] = str,
) -> Judged:
    """One greedy completion a problem and, for pass@k, `spec.pass_at` sampled ones."""

    def score_all(
        label: str, prompts: Sequence[list[int]], problems: Sequence[Example], temperature: float
    ) -> tuple[tuple[str, ...], tuple[Scored, ...]]:
        with progress_bar(console, label, len(prompts)) as bar, naming_memory("evaluation"):
            completions: list[Completion] = generator.complete(
                prompts,
                spec.max_completion_length,
                temperature=temperature,
                seed=seed,
                on_progress=bar.update,
            )
        attempts = [
            Attempt(problem, cut(completion.text), completion.truncated)
            for problem, completion in zip(problems, completions, strict=True)
        ]
        rewards = [None] * len(attempts) if rate is None else rate(attempts)
        judgements = zip(attempts, is_right(attempts), rewards, strict=True)
        scored = tuple(
            score(a.completion, a.example, truncated=a.truncated, correct=right, reward=reward)
            for a, right, reward in judgements
        )
        return tuple(a.completion for a in attempts), scored

    texts, scored = score_all(f"evaluate {name}", prompts, problems, 0.0)
    greedy = Judged(name, tuple(problems), texts, scored)
    if spec.pass_at == 1:
        return greedy
    k = spec.pass_at
    _, samples = score_all(
        f"sample {name}",
        [prompt for prompt in prompts for _ in range(k)],
        [problem for problem in problems for _ in range(k)],
        spec.temperature,
    )
    right = tuple(
        sum(bool(one.correct) for one in samples[i : i + k]) for i in range(0, len(samples), k)
    )
    return replace(greedy, samples=k, right_samples=right)
