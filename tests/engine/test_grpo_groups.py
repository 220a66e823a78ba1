"""What is reported of a step's rollouts."""

from typing import Any

import numpy as np
import pytest

from reasoning_lab.data.example import Example
from reasoning_lab.engine.grpo_groups import (
    Group,
    domain_metrics,
    group_metrics,
    live_shares,
    rollout_metrics,
)
from reasoning_lab.formats import render_completion

NAN = float("nan")
GOOD = render_completion("I think.", "4")


def group(domain: str, rewards: list[float], **changed: Any) -> Group:
    size = len(rewards)
    values: dict[str, Any] = {
        "problem": Example(domain, "s", domain, "2 + 2?", None, "4", ""),
        "prompt": [1],
        "texts": [GOOD, "no tags"],
        "tokens": [[1] * 10, [1] * 20],
        "log_probs": [[0.0]] * size,
        "truncated": np.zeros(size, bool),
        "rewards": np.array(rewards),
        "components": {"math": np.array(rewards), "creative": np.full(size, NAN)},
        "finite": np.isfinite(rewards),
        "correct": np.array([1.0, 0.0]),
        **changed,
    }
    return Group(**values)


OPEN = np.array([NAN, NAN])
STORY = group(
    "stories",
    [0.25, 0.75],
    correct=OPEN,
    components={"math": OPEN, "creative": np.array([0.25, 0.75])},
)


def test_domains_are_told_apart() -> None:
    groups = [group("math", [1.0, 0.0]), group("math", [1.0, 1.0]), STORY]
    metrics = domain_metrics(groups)
    assert metrics == pytest.approx(
        {
            "domain/math/share": 2 / 3,
            "domain/math/reward": 0.75,
            "domain/math/live": 0.5,
            "domain/math/well_formed": 0.5,
            "domain/math/length": 15,
            "domain/math/correct": 0.5,
            "domain/stories/share": 1 / 3,
            "domain/stories/reward": 0.5,
            "domain/stories/live": 1,
            "domain/stories/well_formed": 0.5,
            "domain/stories/length": 15,
        }
    )
    assert live_shares(groups) == {"math": 0.5, "stories": 1.0}


def test_means_are_over_what_applies() -> None:
    metrics = rollout_metrics([group("math", [1.0, 0.0]), STORY])
    assert metrics["reward/math"] == metrics["reward/creative"] == metrics["reward/total"] == 0.5
    assert metrics["rollout/correct"] == 0.5
    only = rollout_metrics([STORY])
    assert not {"rollout/correct", "reward/math"} & set(only)


def test_a_group_that_nothing_decides_is_neither_right_nor_wrong() -> None:
    metrics = group_metrics([group("stories", [0.5, 0.5], correct=OPEN)])
    assert (metrics["groups/dead"], metrics["groups/all_equal"]) == (1.0, 1.0)
    assert metrics["groups/all_right"] == metrics["groups/all_wrong"] == 0.0


def test_a_record_holds_the_rewards_of_its_domain_and_those_that_are_no_number() -> None:
    assert STORY.parts(0) == {"reward/creative": 0.25}
    broken = group("math", [NAN, 1.0], components={"math": np.array([NAN, 1.0])})
    assert np.isnan(broken.parts(0)["reward/math"])
    assert broken.teaches_nothing
