"""From rewards of groups to advantages: pure NumPy, so that stored rollouts can be scored again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_EPSILON = 1e-4  # as in TRL: keeps a group of nearly equal rewards from dividing by nothing


@dataclass(frozen=True)
class Groups:
    """How many of a step's groups teach something, and why the others do not.

    A group is dead if all its rewards are exactly equal: its advantages are all zero. Dead groups
    are all right, all wrong, or else (some right, some wrong, or not to be told) just all equal.
    """

    count: int
    all_right: int
    all_wrong: int
    all_equal: int

    @property
    def dead(self) -> int:
        return self.all_right + self.all_wrong + self.all_equal


def is_dead(rewards: Floats) -> npt.NDArray[np.bool_]:
    """Whether all rewards of a group are exactly equal: rewards [N, G] -> bool [N]."""
    dead: npt.NDArray[np.bool_] = rewards.max(axis=1) == rewards.min(axis=1)
    return dead


def count_groups(rewards: Floats, correct: Floats) -> Groups:
    """Sort groups by why they are dead; both arguments are [N, G].

    `correct` is 1 for a right answer, 0 for a wrong one, NaN where nothing decides.
    """
    dead = is_dead(rewards)
    right, wrong = dead & (correct == 1).all(axis=1), dead & (correct == 0).all(axis=1)
    return Groups(
        count=len(rewards),
        all_right=int(right.sum()),
        all_wrong=int(wrong.sum()),
        all_equal=int((dead & ~right & ~wrong).sum()),
    )


def group_advantages(rewards: Any, *, normalise_by_std: bool) -> Floats:
    """Rewards [N, G] less their group's mean, in units of its standard deviation if wanted.

    The advantage of GRPO (arXiv 2402.03300, eq. 1); without the standard deviation that of
    Dr. GRPO (arXiv 2503.20783). Exactly zero for a dead group: the mean of equal rewards may be
    rounded to something else than that reward, and dividing by nearly nothing would make a signal
    of it.
    """
    values = np.asarray(rewards, np.float64)
    advantages: Floats = values - values.mean(axis=1, keepdims=True)
    if normalise_by_std:
        advantages /= values.std(axis=1, ddof=1, keepdims=True) + _EPSILON
    advantages[is_dead(values)] = 0.0
    return advantages
