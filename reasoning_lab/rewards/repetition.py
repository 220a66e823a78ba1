"""Whether a completion says the same over and over."""

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.rewards.prose import ramp
from reasoning_lab.rewards.specs import Attempt, Reward

# A long word is several pieces and so is a stretch of white space, so that "haha..." and line
# breaks without end are seen. Longer ones would hide loops, shorter ones make loops of indentation.
_PIECE = re.compile(r"\w{1,8}|[^\w\s]|\s{2,16}")
_MAX_CHARS = 100_000


@spec
class Repetition(Reward):
    """-(repeated - allowed) / (1 - allowed), but 0 up to allowed: a penalty, -1 to 0.

    repeated: 1 minus the share of distinct runs among all runs of `run` pieces; a piece is a word,
    up to 8 characters of a longer one, or a sign. 0 if there is no such run. After the n-gram
    repetition penalty of arXiv 2502.03373. Of the completion, the first 100,000 characters.

    It cannot see what is repeated in other words, nor anything else.
    """

    sees: ClassVar[frozenset[str] | None] = frozenset(
        {
            "endless reasoning",
            "padded reasoning",
            "repeated text",
        }
    )

    run: int = Field(default=8, ge=1, le=100, description="length of the runs that are compared")
    allowed: float = Field(
        default=0.1, ge=0, lt=1, description="share of repeated runs that costs nothing"
    )

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        return [self._score(attempt.completion) for attempt in attempts]

    def _score(self, completion: str) -> float:
        pieces = _PIECE.findall(completion[:_MAX_CHARS].casefold())
        runs = [hash(run) for run in zip(*(pieces[i:] for i in range(self.run)), strict=False)]
        repeated = 1 - len(set(runs)) / len(runs) if runs else 0.0
        return -ramp(repeated, self.allowed, 1.0)
