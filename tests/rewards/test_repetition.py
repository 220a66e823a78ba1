import time

import pytest

from reasoning_lab.rewards.lint.problems import PROBLEMS
from reasoning_lab.rewards.repetition import Repetition
from tests.rewards.attempts import HOSTILE, answered, attempt


def score(completion: str, **fields: float) -> float:
    (value,) = Repetition(**fields).score([attempt(completion)])  # type: ignore[arg-type]
    return value


def test_the_formula() -> None:
    # a b a b a b: of the five runs of two, two are distinct
    assert score("a b a b a b", run=2, allowed=0) == pytest.approx(-3 / 5)
    assert score("a b a b a b", run=2, allowed=0.2) == pytest.approx(-0.5)
    assert score("a b a b a b", run=2, allowed=0.6) == 0
    assert score("a b a b a b", run=7) == 0  # no run is that long


@pytest.mark.parametrize(
    "loop",
    [
        "Wait, let me check that again. ",
        "26 ",
        "no ",
        "ha",
        "x",
        "-",
        "abc",
        "\n",
        " ",
        "</answer>",
        "\\boxed{",
        "1 + 1 = 2\n",
        "等",
    ],
)
def test_loops_are_seen_whatever_is_repeated(loop: str) -> None:
    assert score(loop * (4000 // len(loop))) < -0.9


def test_honest_completions_pay_nothing() -> None:
    for problem in (problem for some in PROBLEMS.values() for problem in some):
        for honest in problem.honest:
            assert score(answered(honest.answer, reasoning=honest.reasoning).completion) == 0


def test_more_of_the_same_costs_more() -> None:
    scores = [score("One of these days it will rain on the roof. " * n) for n in (1, 2, 4, 40)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 0
    assert len(set(scores)) == 4


def test_no_hostile_text_raises_or_hangs_or_leaves_the_range() -> None:
    started = time.monotonic()
    assert all(-1 <= value <= 0 for value in Repetition().score(list(map(attempt, HOSTILE))))
    assert time.monotonic() - started < 10
