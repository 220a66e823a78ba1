"""The format alone, with credit for every part of it that is in place."""

import re
from collections.abc import Sequence
from typing import ClassVar

from reasoning_lab.config import spec
from reasoning_lab.formats import TAGS, parse
from reasoning_lab.rewards.specs import Attempt, Reward

_TAG = re.compile("|".join(map(re.escape, TAGS)))


@spec
class Format(Reward):
    """tags / 8 + alone / 4 + finished / 4: 0 to 1, and 1 only if nothing is wrong.

    tags: how many of the four tags are in place: exactly once, after all that come before it.
    alone: 1 if all four are, and there is only white space outside the two parts.
    finished: 1 if the completion is well formed, neither part empty, and not truncated.
    A repeated tag is not in place, so nothing is won by repeating it.

    It cannot see what stands in the two parts: a single letter in each is enough.
    """

    sees: ClassVar[frozenset[str] | None] = frozenset(
        {
            "answer only",
            "answer outside",
            "empty reasoning",
            "nested tags",
            "no tags",
            "repeated parts",
            "two answers",
        }
    )

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        return [_score(attempt) for attempt in attempts]


def _score(attempt: Attempt) -> float:
    tags = _tags_in_place(attempt.completion)
    alone = tags == len(TAGS) and not "".join(_TAG.split(attempt.completion)[::2]).strip()
    finished = parse(attempt.completion).well_formed and not attempt.truncated
    return tags / 8 + alone / 4 + finished / 4


def _tags_in_place(text: str) -> int:
    """How many tags stand exactly once and behind every occurrence of an earlier one."""
    in_place, end_of_earlier = 0, -1
    for tag in TAGS:
        in_place += text.count(tag) == 1 and text.find(tag) > end_of_earlier
        end_of_earlier = max(end_of_earlier, text.rfind(tag))
    return in_place
