import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from reasoning_lab.config import spec
from reasoning_lab.rewards.format import Format
from reasoning_lab.rewards.math import Math
from reasoning_lab.rewards.scoring import RewardError, score_attempts
from reasoning_lab.rewards.specs import Attempt, Reward
from tests.rewards.attempts import answered, attempt

ATTEMPTS = [answered("26"), answered("27"), attempt("no tags")]


@spec
class Made(Reward):
    """A reward that does what a test wants."""

    of: Callable[[Sequence[Attempt]], Any]

    def score(self, attempts: Sequence[Attempt]) -> Any:
        return self.of(attempts)


def fail(of: Callable[[Sequence[Attempt]], Any], seconds: float = 10) -> RewardError:
    with pytest.raises(RewardError) as error:
        score_attempts({"math": Math(), "mine": Made(of=of)}, ATTEMPTS, timeout_seconds=seconds)
    assert error.value.reward == "mine"
    assert str(error.value).startswith("reward.mine ")
    assert json.loads(json.dumps(error.value.as_record()))["reward"] == "reward.mine"
    return error.value


def test_the_total_is_the_weighted_sum() -> None:
    rewards = {"math": Math(weight=2.0), "format": Format(weight=0.5)}
    scores = score_attempts(rewards, ATTEMPTS, timeout_seconds=10)

    assert scores.components["math"].tolist() == [1.0, 0.2, 0.0]
    assert scores.components["format"].tolist() == [1.0, 1.0, 0.0]
    assert scores.total.tolist() == [2.5, 0.9, 0.0]
    assert scores.finite.tolist() == [True, True, True]
    assert {array.dtype for array in scores.components.values()} == {np.dtype(np.float64)}


def test_no_attempts_have_no_scores() -> None:
    scores = score_attempts({"math": Math()}, [], timeout_seconds=10)
    assert (scores.components["math"].shape, scores.total.shape) == ((0,), (0,))


@pytest.mark.parametrize(
    "returned",
    [
        [1, 0, 0.5],
        (1.0, 0.0, 0.5),
        np.array([1, 0, 0.5], np.float32),
        [True, np.bool_(False), Fraction(1, 2)],
        [np.int64(1), np.float16(0), np.float64(0.5)],
    ],
)
def test_any_kind_of_number_will_do(returned: Any) -> None:
    made = Made(of=lambda attempts: returned)
    scores = score_attempts({"mine": made}, ATTEMPTS, timeout_seconds=10)
    assert scores.total.tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_what_is_not_finite_is_marked(bad: float) -> None:
    rewards = {
        "one": Made(of=lambda attempts: [0, bad, 1]),
        "two": Made(of=lambda attempts: [0, -bad, 1]),  # inf - inf
    }
    scores = score_attempts(rewards, ATTEMPTS, timeout_seconds=10)
    assert scores.finite.tolist() == [True, False, True]
    assert not math.isfinite(scores.components["one"][1])


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (None, "returned None instead of a list"),
        (1.0, "type float instead of a list"),
        ("111", "type str instead of a list"),
        ({0: 1.0, 1: 1.0, 2: 1.0}, "type dict instead of a list"),
        ({1.0, 2.0, 3.0}, "type set instead of a list"),
        ((score for score in (1.0, 1.0, 1.0)), "type generator instead of a list"),
        (np.float64(1), "type float64 instead of a list"),
        (np.array(1.0), "type ndarray instead of a list"),
        (np.ones((3, 1)), "type ndarray instead of a list"),
        ([], "0 scores for 3 attempts"),
        ([1.0] * 4, "4 scores for 3 attempts"),
    ],
)
def test_what_is_no_list_of_scores_is_refused(returned: Any, told: str) -> None:
    error = fail(lambda attempts: returned)
    assert told in str(error)
    assert error.index is None
    assert error.attempts == tuple(ATTEMPTS)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "returned None instead of a number"),
        ("0.5", "type str instead of a number"),
        ([1.0], "type list instead of a number"),
        (1j, "type complex instead of a number"),
        (10**400, "too large"),
    ],
)
def test_what_is_no_number_is_refused_with_its_sample(value: Any, told: str) -> None:
    error = fail(lambda attempts: [1.0, value, 1.0])
    assert told in str(error)
    assert "attempt 1 " in str(error)
    assert "question: '9 + 9 + 8?'" in str(error)
    assert "<answer>27</answer>" in str(error)
    assert error.attempts == (ATTEMPTS[1],)
    record = error.as_record()
    assert record["index"] == 1
    assert record["attempts"][0]["completion"] == ATTEMPTS[1].completion
    assert record["attempts"][0]["example"]["question"] == "9 + 9 + 8?"


def division(attempts: Sequence[Attempt]) -> list[float]:
    return [1 / one.completion.count("<answer>") for one in attempts]


def test_the_sample_on_which_a_reward_fails_is_found() -> None:
    error = fail(division)
    assert "raised ZeroDivisionError" in str(error)
    assert error.index == 2
    assert error.attempts == (ATTEMPTS[2],)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert error.__cause__.__traceback__ is not None


def test_a_reward_that_fails_only_on_several_at_once_is_told_without_a_sample() -> None:
    error = fail(lambda attempts: [1.0] if len(attempts) == 1 else attempts[9])
    assert error.index is None
    assert "3 attempts" in str(error)


def test_a_reward_that_wants_to_end_the_program_does_not() -> None:
    assert "raised SystemExit" in str(fail(lambda attempts: sys.exit(0)))


def test_a_reward_that_fails_and_then_hangs_is_told_without_a_sample() -> None:
    def hang(attempts: Sequence[Attempt]) -> None:
        if len(attempts) > 1:
            raise ValueError
        time.sleep(3)

    started = time.monotonic()
    error = fail(hang, seconds=0.3)
    assert time.monotonic() - started < 2
    assert "ValueError" in str(error)
    assert len(error.as_record()["attempts"]) == 3


def test_a_reward_that_hangs_stalls_nothing_and_decides_nothing() -> None:
    rewards = {"math": Math(), "slow": Made(of=lambda attempts: time.sleep(3), weight=5.0)}
    started = time.monotonic()
    scores = score_attempts(rewards, ATTEMPTS, timeout_seconds=0.3)
    assert time.monotonic() - started < 2
    assert scores.too_slow == ("slow",)
    assert scores.components["slow"].tolist() == [0.0, 0.0, 0.0]
    assert scores.total.tolist() == scores.components["math"].tolist() == [1.0, 0.2, 0.0]


def test_rewards_work_at_the_same_time() -> None:
    def slow(attempts: Sequence[Attempt]) -> list[float]:
        time.sleep(0.5)
        return [1.0] * len(attempts)

    rewards = {str(number): Made(of=slow) for number in range(6)}
    started = time.monotonic()
    scores = score_attempts(rewards, ATTEMPTS, timeout_seconds=10)
    assert time.monotonic() - started < 2
    assert scores.total.tolist() == [6.0, 6.0, 6.0]


def test_a_reward_sees_the_attempts_of_its_domains_alone() -> None:
    def count(attempts: Sequence[Attempt]) -> list[float]:
        return [float(len(attempts))] * len(attempts)

    other = replace(ATTEMPTS[1], example=replace(ATTEMPTS[1].example, domain="stories"))
    attempts = [ATTEMPTS[0], other, ATTEMPTS[2]]
    rewards = {
        "all": Made(of=count),
        "sums": Made(of=count, domains=("addition",), weight=10.0),
        "stories": Made(of=count, domains=("stories", "plays"), weight=100.0),
        "none": Made(of=lambda attempts: 1 / 0, domains=("chess",)),
    }
    scores = score_attempts(rewards, attempts, timeout_seconds=10)
    assert scores.total.tolist() == [23.0, 103.0, 23.0]
    assert scores.finite.all()
    assert np.isnan(scores.components["sums"]).tolist() == [False, True, False]
    assert np.isnan(scores.components["none"]).all()


def test_a_sample_that_is_no_unicode_can_be_written() -> None:
    made = Made(of=lambda attempts: [None])
    with pytest.raises(RewardError) as error:
        score_attempts({"mine": made}, [attempt("\ud800" * 1000)], timeout_seconds=10)
    str(error.value).encode()
    json.dumps(error.value.as_record()).encode()
    assert len(str(error.value)) < 4000
