"""The kinds of reward that a config can name."""

from reasoning_lab.rewards.format import Format
from reasoning_lab.rewards.function import Function
from reasoning_lab.rewards.math import Math
from reasoning_lab.rewards.specs import Reward

REWARDS: dict[str, type[Reward]] = {
    "format": Format,
    "function": Function,
    "math": Math,
}
