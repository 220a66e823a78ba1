"""What completions are worth while training."""

import time
from collections.abc import Sequence
from threading import Event

import numpy as np
import pytest

from reasoning_lab.config import spec
from reasoning_lab.data.example import Example
from reasoning_lab.formats import render_completion
from reasoning_lab.rewards.math import Math
from reasoning_lab.rewards.scoring import RewardError
from reasoning_lab.rewards.specs import Attempt, Reward
from reasoning_lab.stages.judge import Judge

SUM = Example("1", "s", "math", "2 + 2?", None, "4", "")
STORY = Example("2", "s", "stories", "A story, please.", None, "Once.", "", kind="open")
ATTEMPTS = [
    Attempt(example, render_completion("2 + 2 = 4, as one can count.", answer), False)
    for example, answer in ((SUM, "4"), (SUM, "5"), (STORY, "4"))
]


@spec
class Sleepy(Reward):
    """Takes its time while `asleep` is set."""

    asleep: Event

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        if self.asleep.is_set():
            time.sleep(1.5)
        return [1.0] * len(attempts)


def test_right_and_wrong_and_what_nothing_decides() -> None:
    verdicts = Judge({"math": Math(domains=("math",))}, timeout_seconds=10)(ATTEMPTS)
    np.testing.assert_array_equal(verdicts.correct, [1.0, 0.0, np.nan])
    assert verdicts.total.tolist() == [1.0, 0.2, 0.0]
    assert verdicts.finite.all()
    assert verdicts.too_slow == ()


def test_a_slow_reward_counts_as_nothing_and_ends_the_run_the_third_time_in_a_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asleep = Event()
    asleep.set()
    judge = Judge({"math": Math(), "sleepy": Sleepy(asleep=asleep)}, timeout_seconds=0.1)
    assert judge(ATTEMPTS).too_slow == judge(ATTEMPTS).too_slow == ("sleepy",)
    assert "reward.sleepy took longer than stage.reward_timeout=0.1 s" in caplog.text
    asleep.clear()
    assert judge(ATTEMPTS).total.tolist() == [2.0, 1.2, 1.2]
    asleep.set()
    judge(ATTEMPTS)
    judge(ATTEMPTS)
    with pytest.raises(RewardError, match=r"reward\.sleepy took longer than .* 3 times in a row"):
        judge(ATTEMPTS)
