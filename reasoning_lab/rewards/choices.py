"""The kinds of reward that a config can name."""

from reasoning_lab.rewards.code import Code
from reasoning_lab.rewards.creative import Creative
from reasoning_lab.rewards.creative_basic import CreativeBasic
from reasoning_lab.rewards.format import Format
from reasoning_lab.rewards.function import Function
from reasoning_lab.rewards.length import Length
from reasoning_lab.rewards.math import Math
from reasoning_lab.rewards.repetition import Repetition
from reasoning_lab.rewards.science import Science
from reasoning_lab.rewards.specs import Reward
from reasoning_lab.rewards.summarization import Summarization

REWARDS: dict[str, type[Reward]] = {
    "code": Code,
    "creative": Creative,
    "creative_basic": CreativeBasic,
    "format": Format,
    "function": Function,
    "length": Length,
    "math": Math,
    "repetition": Repetition,
    "science": Science,
    "summarization": Summarization,
}
