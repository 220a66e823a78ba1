"""A right answer, and reasoning of a sensible length before it."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from reasoning_lab.answers import answers_match
from reasoning_lab.config import spec
from reasoning_lab.formats import parse
from reasoning_lab.rewards.math_verifier import equivalent
from reasoning_lab.rewards.specs import Attempt, Reward


@spec
class Math(Reward):
    """correct_weight * correct + structure_weight * structure: 0 to the sum of the two.

    correct: 1 if the completion has one answer part that is the right answer, else 0. A truncated
    completion is not correct, as in evaluation/metrics.py.
    structure: 1 if the reasoning is longer than min_chars and shorter than max_chars, else 0; white
    space at its ends does not count.

    It cannot see whether the reasoning leads to the answer, or is reasoning at all.
    """

    made_for: ClassVar[tuple[str, ...] | None] = ("math",)
    blind_to: ClassVar[frozenset[str]] = frozenset({"nested tags", "padded reasoning"})

    correct_weight: float = Field(default=0.8, ge=0, le=1, description="score of a right answer")
    structure_weight: float = Field(
        default=0.2, ge=0, le=1, description="score of reasoning within the two lengths"
    )
    min_chars: int = Field(default=20, ge=0, description="reasoning must be longer than this")
    max_chars: int = Field(default=800, ge=1, description="reasoning must be shorter than this")
    verify: bool = Field(
        default=True, description="ask math-verify where the exact comparison says no"
    )

    def __post_init__(self) -> None:
        if self.min_chars + 1 >= self.max_chars:
            raise ValueError(
                f"nothing is longer than min_chars={self.min_chars} and shorter than "
                f"max_chars={self.max_chars}: leave room between them"
            )
        if self.correct_weight == self.structure_weight == 0:
            raise ValueError("correct_weight and structure_weight must not both be 0")

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        return [self._score(attempt) for attempt in attempts]

    def _score(self, attempt: Attempt) -> float:
        parsed = parse(attempt.completion)
        correct = (
            parsed.answer is not None
            and not attempt.truncated
            and self._is_right(parsed.answer, attempt.example.answer)
        )
        structure = self.min_chars < len(parsed.reasoning or "") < self.max_chars
        return self.correct_weight * correct + self.structure_weight * structure

    def _is_right(self, given: str, expected: str) -> bool:
        return answers_match(given, expected) or (self.verify and equivalent(given, expected))
