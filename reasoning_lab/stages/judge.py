"""What completions are worth while training: rewards, and whether they are right."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reasoning_lab.rewards.correctness import is_right
from reasoning_lab.rewards.scoring import RewardError, score_attempts
from reasoning_lab.rewards.specs import Attempt, Reward

_TIMEOUTS_AT_MOST = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdicts:
    """What the trainer wants to know of completions; see engine/grpo.py."""

    components: dict[str, npt.NDArray[np.float64]]
    total: npt.NDArray[np.float64]
    finite: npt.NDArray[np.bool_]
    correct: npt.NDArray[np.float64]
    too_slow: tuple[str, ...]


class Judge:
    """Scores completions; stops a run that would go on without one of its rewards.

    Raises (when called):
        RewardError: a reward failed, or was too slow three times in a row.
    """

    def __init__(self, rewards: Mapping[str, Reward], *, timeout_seconds: float) -> None:
        self._rewards = rewards
        self._timeout_seconds = timeout_seconds
        self._slow_in_a_row: Counter[str] = Counter()

    def __call__(self, attempts: Sequence[Attempt]) -> Verdicts:
        scores = score_attempts(self._rewards, attempts, timeout_seconds=self._timeout_seconds)
        for name in self._rewards:
            self._slow_in_a_row[name] += 1
            if name not in scores.too_slow:
                self._slow_in_a_row[name] = 0
            elif self._slow_in_a_row[name] == _TIMEOUTS_AT_MOST:
                raise RewardError(
                    f"took longer than stage.reward_timeout={self._timeout_seconds:g} s "
                    f"{_TIMEOUTS_AT_MOST} times in a row. Raise it, or mend the reward.",
                    name,
                    attempts,
                )
            else:
                _log.warning(
                    "reward.%s took longer than stage.reward_timeout=%g s: it counts as 0 for "
                    "these %d completions",
                    *(name, self._timeout_seconds, len(attempts)),
                )
        right = [np.nan if one is None else float(one) for one in is_right(attempts)]
        return Verdicts(
            scores.components, scores.total, scores.finite, np.array(right), scores.too_slow
        )

    def rate(self, attempts: Sequence[Attempt]) -> list[float]:
        """What each of them earns in all."""
        scores = score_attempts(self._rewards, attempts, timeout_seconds=self._timeout_seconds)
        rewards: list[float] = scores.total.tolist()
        return rewards
