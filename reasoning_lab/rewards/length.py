"""Whether a completion has a sensible length."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.formats import parse
from reasoning_lab.rewards.prose import ramp, words
from reasoning_lab.rewards.specs import Attempt, Reward


@spec
class Length(Reward):
    """A penalty, -1 to 0, and 0 from shortest to longest.

    Below shortest: -(shortest - length) / shortest. Above longest: -(length - longest) / margin,
    but -1 at most; the soft overlong punishment of DAPO (arXiv 2503.14476), in characters or words
    instead of tokens. A part that is missing, or stands there twice, has length 0.

    It cannot see what the text says: any padding to the length will do.
    """

    sees: ClassVar[frozenset[str] | None] = frozenset(
        {
            "endless reasoning",
            "huge number",
            "one letter each",
            "tags only",
        }
    )

    part: Literal["completion", "reasoning", "answer"] = Field(
        default="completion", description="what is measured"
    )
    unit: Literal["characters", "words"] = Field(default="characters", description="of all lengths")
    shortest: int = Field(default=100, ge=0, description="from this length on there is no penalty")
    longest: int = Field(default=4000, ge=1, description="up to this length there is no penalty")
    margin: int = Field(default=400, ge=1, description="so far above it the penalty is -1")

    def __post_init__(self) -> None:
        if self.shortest > self.longest:
            raise ValueError(
                f"no length is from shortest={self.shortest} to longest={self.longest}: "
                "swap them or leave room"
            )

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        return [self._score(attempt.completion) for attempt in attempts]

    def _score(self, completion: str) -> float:
        text: str | None = completion
        if self.part != "completion":
            parsed = parse(completion)
            text = parsed.reasoning if self.part == "reasoning" else parsed.answer
        length = len(words(text or "")) if self.unit == "words" else len(text or "")
        if length < self.shortest:
            return length / self.shortest - 1
        return -ramp(length, self.longest, self.longest + self.margin)
