"""A summary close to the reference, of its length, and not copied from the document."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.data.example import Example
from reasoning_lab.formats import parse
from reasoning_lab.rewards.overlap import copied, rouge_1, rouge_l
from reasoning_lab.rewards.prose import ramp, reads_like_prose, words
from reasoning_lab.rewards.specs import Attempt, Reward

_RUN = 8  # words in a row that hardly anybody writes twice by chance
_FAR_TOO_LONG = 20  # times the reference: nothing else is measured then


@spec
class Summarization(Reward):
    """overlap * (1 - length_weight + length_weight * length) * prose * own: 0 to 1.

    0 without exactly one answer part, for a truncated completion, and without a reference.
    overlap: the mean of ROUGE-1 and ROUGE-L (both F) with the reference, `example.answer`: 0 up to
    `chance`, which unrelated sentences share, and 1 from `good` on.
    length: 1 if the summary has min_ratio to max_ratio times the words of the reference; shorter,
    it falls to 0 at no words; longer, to 0 at twice the longest.
    prose: whether it reads like English (`reads_like_prose`): 0 for key words or shuffled words.
    own: 1 - copy_penalty * copying, where copying is the mean of two shares: of the summary's runs
    of 8 words that stand in the document, and of the document's that stand in the summary. So one
    copied sentence costs about half of the penalty, and the whole document all of it.

    It cannot see a "not", nor the reasoning, nor whether the answer part stands inside of it.
    """

    made_for: ClassVar[tuple[str, ...] | None] = ("summarization",)
    blind_to: ClassVar[frozenset[str]] = frozenset(
        {
            "answer as reasoning",
            "answer only",
            "empty reasoning",
            "endless reasoning",
            "nested tags",
            "padded reasoning",
        }
    )

    length_weight: float = Field(
        default=0.2, ge=0, le=1, description="share that depends on the length"
    )
    chance: float = Field(default=0.12, ge=0, lt=1, description="mean ROUGE that is worth nothing")
    good: float = Field(default=0.5, gt=0, le=1, description="mean ROUGE that is worth all")
    min_ratio: float = Field(default=0.5, gt=0, description="shortest, in lengths of the reference")
    max_ratio: float = Field(default=2.0, gt=0, description="longest, in lengths of the reference")
    copy_penalty: float = Field(
        default=0.4, ge=0, le=1, description="share that a copy of the whole document loses"
    )

    def __post_init__(self) -> None:
        for low, high in (("chance", "good"), ("min_ratio", "max_ratio")):
            if getattr(self, low) >= getattr(self, high):
                raise ValueError(
                    f"{low}={getattr(self, low)} must be below {high}={getattr(self, high)}"
                )

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        return [
            0.0
            if attempt.truncated
            else self._score(parse(attempt.completion).answer or "", attempt.example)
            for attempt in attempts
        ]

    def _score(self, summary: str, example: Example) -> float:
        expected, given = len(words(example.answer)), len(words(summary))
        if not expected or not given or given > _FAR_TOO_LONG * expected:
            return 0.0
        rouge = (rouge_1(summary, example.answer) + rouge_l(summary, example.answer)) / 2
        overlap = ramp(rouge, self.chance, self.good)
        ratio = given / expected
        length = ramp(ratio, 0, self.min_ratio) * ramp(ratio, 2 * self.max_ratio, self.max_ratio)
        fitting = 1 - self.length_weight * (1 - length)
        return overlap * fitting * reads_like_prose(summary) * self._own(summary, example.document)

    def _own(self, summary: str, document: str | None) -> float:
        if not document:
            return 1.0
        copying = (copied(summary, document, _RUN) + copied(document, summary, _RUN)) / 2
        return 1 - self.copy_penalty * copying
