"""What is asked of the generator, and what becomes of its completions; no model is needed."""

from collections.abc import Callable, Sequence
from io import StringIO
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from reasoning_lab.data.example import Example
from reasoning_lab.data.mixture import Mixture
from reasoning_lab.engine.generate import Completion
from reasoning_lab.engine.models import Policy
from reasoning_lab.evaluation.specs import EvaluationSpec
from reasoning_lab.formats import render_completion
from reasoning_lab.stages.evaluate import evaluate_base, evaluate_tuned

PROBLEMS = tuple(
    Example(str(n), "sums", "addition", f"What is {n} + 1?", "I add.", str(n + 1), "")
    for n in range(3)
)
RIGHT = {p.question: render_completion("I add.", p.answer) for p in PROBLEMS}


class Recorded:
    """A policy whose samples of problem n are right n times, and whose greedy answers always."""

    def __init__(self) -> None:
        self.calls: list[dict[str, object]] = []
        self.tokenizer = SimpleNamespace(prompt=self._prompt, plain_prompt=self._prompt)
        self._questions: list[str] = []

    def _prompt(self, text: str) -> list[int]:
        self._questions.append(text.rstrip().splitlines()[-1].removeprefix("Question: "))
        return [len(self._questions) - 1]

    def generator(self, **settings: object) -> SimpleNamespace:
        return SimpleNamespace(complete=self._complete)

    def _complete(
        self,
        prompts: Sequence[list[int]],
        max_new_tokens: int,
        *,
        temperature: float,
        seed: int,
        on_progress: Callable[[int], None],
    ) -> list[Completion]:
        self.calls.append({"count": len(prompts), "temperature": temperature, "seed": seed})
        completions, seen = [], dict.fromkeys(RIGHT, 0)
        for (prompt,) in prompts:
            question = self._questions[prompt]
            is_right = temperature == 0 or seen[question] < list(RIGHT).index(question)
            seen[question] += 1
            completions.append(Completion(RIGHT[question] if is_right else "no", (), False))
        on_progress(len(completions))
        return completions


@pytest.fixture
def policy() -> Recorded:
    return Recorded()


def console() -> Console:
    return Console(file=StringIO())


def test_greedy_answers_alone_unless_more_are_asked_for(policy: Recorded) -> None:
    judged = evaluate_tuned(
        cast(Policy, policy), PROBLEMS, EvaluationSpec(), batch_size=4, console=console()
    )
    assert judged.name == "tuned"
    assert policy.calls == [{"count": 3, "temperature": 0.0, "seed": 0}]
    assert judged.summary.pass_at == ()
    assert all(one.correct for one in judged.scored)


def test_pass_at_k_samples_k_completions_of_each_problem(policy: Recorded) -> None:
    spec = EvaluationSpec(pass_at=4, temperature=0.7)
    judged = evaluate_tuned(
        cast(Policy, policy),
        PROBLEMS,
        spec,
        batch_size=4,
        console=console(),
        name="GRPO",
        seed=5,
    )
    assert policy.calls[1:] == [{"count": 12, "temperature": 0.7, "seed": 5}]
    assert judged.name == "GRPO"
    assert judged.right_samples == (0, 1, 2)
    shares = {mean.metric: mean.value for mean in judged.summary.pass_at}
    assert shares == {
        "pass_at_1": pytest.approx(3 / 12),
        "pass_at_4": pytest.approx(2 / 3),
    }
    assert all(one.correct for one in judged.scored)  # the greedy answers are judged as ever
    assert [line["right_samples"] for line in judged.records()] == [0, 1, 2]
    assert len(judged.completions) == 3


def test_the_untuned_model_is_sampled_both_ways(policy: Recorded) -> None:
    shown = Example("shot", "sums", "addition", "What is 8 + 1?", "I add.", "9", "")
    judged = evaluate_base(
        cast(Policy, policy),
        Mixture((shown,), PROBLEMS, ()),
        EvaluationSpec(pass_at=2, few_shot=1),
        batch_size=4,
        console=console(),
    )
    assert [one.name for one in judged] == ["base, zero-shot", "base, 1-shot"]
    assert [call["count"] for call in policy.calls] == [3, 6, 3, 6]
    assert all(one.right_samples == (0, 1, 2) for one in judged)
