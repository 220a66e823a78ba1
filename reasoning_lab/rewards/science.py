"""The right option or short answer, and an explanation with a reason in it."""

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from reasoning_lab.answers import answers_match, names_option
from reasoning_lab.config import spec
from reasoning_lab.data.example import Example
from reasoning_lab.formats import parse
from reasoning_lab.rewards.overlap import rouge_1, rouge_l
from reasoning_lab.rewards.prose import content_words, ramp, reads_like_prose, sentences, words
from reasoning_lab.rewards.specs import Attempt, Reward

_LINKS = re.compile(
    r"\b(?:because|since|so|therefore|thus|hence|means?|makes?|causes?|if|when|while|which|leads?"
    r"|due|needs?|but|unlike|only)\b",
    re.IGNORECASE,
)
_MIN_SENTENCE = 5  # words; a link alone explains nothing


@spec
class Science(Reward):
    """correct_weight * correct + similarity_weight * similarity + structure_weight * structure.

    0 to the sum of the three weights (1), of which a wrong answer gets at most the last two (0.3).
    correct: 1 if the completion has one answer part that is right, else 0: of several options it
    names the right one (answers.names_option), and else it says the same as the expected answer
    (answers.answers_match). 0 for a truncated completion, and where the problem is open (of kind
    "open" or "code"): there, similarity and structure are all.
    similarity: the mean of ROUGE-1 and ROUGE-L (both F) of reasoning and answer with those of the
    example; if that has no reasoning, of the answers alone, and 1 for a right one. Overlap cannot
    see a "not", so it only shapes.
    structure: the mean of three, times whether the reasoning reads like English: at least two
    sentences; a sentence of five words or more that gives a reason (because, so, which, ...); and
    the question's words, 1 if a third of them occur. 0 unless the reasoning is longer than
    min_chars and shorter than max_chars.

    It cannot see whether the explanation is true, or leads to the answer, or whether the answer
    part stands inside of it.
    """

    made_for: ClassVar[tuple[str, ...] | None] = ("science",)
    blind_to: ClassVar[frozenset[str]] = frozenset({"nested tags"})

    correct_weight: float = Field(default=0.7, ge=0, le=1, description="score of a right answer")
    similarity_weight: float = Field(
        default=0.1, ge=0, le=1, description="score of all words of the reference"
    )
    structure_weight: float = Field(
        default=0.2, ge=0, le=1, description="score of a well-built explanation"
    )
    min_chars: int = Field(default=40, ge=0, description="reasoning must be longer than this")
    max_chars: int = Field(default=1500, ge=1, description="reasoning must be shorter than this")

    def __post_init__(self) -> None:
        if self.min_chars + 1 >= self.max_chars:
            raise ValueError(
                f"nothing is longer than min_chars={self.min_chars} and shorter than "
                f"max_chars={self.max_chars}: leave room between them"
            )
        if self.correct_weight == self.similarity_weight == self.structure_weight == 0:
            raise ValueError("not all of the three weights can be 0")

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        return [self._score(attempt) for attempt in attempts]

    def _score(self, attempt: Attempt) -> float:
        parsed, example = parse(attempt.completion), attempt.example
        given, reasoning = parsed.answer or "", parsed.reasoning or ""
        correct = not attempt.truncated and _is_right(given, example)
        return (
            self.correct_weight * correct
            + self.similarity_weight * _similarity(reasoning, given, correct, example)
            + self.structure_weight * self._structure(reasoning, example.question)
        )

    def _structure(self, reasoning: str, question: str) -> float:
        if not self.min_chars < len(reasoning) < self.max_chars:
            return 0.0
        found = [one for one in sentences(reasoning) if len(words(one)) >= _MIN_SENTENCE]
        several = len(found) >= 2
        reason = any(_LINKS.search(sentence) for sentence in found)
        asked = content_words(question)
        named = len(asked & content_words(reasoning)) / len(asked) if asked else 1.0
        return reads_like_prose(reasoning) * (several + reason + ramp(named, 0, 1 / 3)) / 3


def _is_right(given: str, example: Example) -> bool:
    match example.kind:
        case "choice":
            return names_option(given, example.options, example.answer)
        case "exact":
            return answers_match(given, example.answer)
        case "code" | "open":
            return False


def _similarity(reasoning: str, given: str, correct: bool, example: Example) -> float:
    if correct and not example.reasoning:
        return 1.0
    text = f"{reasoning} {given}" if example.reasoning else given
    reference = f"{example.reasoning or ''} {example.answer}"
    return (rouge_1(text, reference) + rouge_l(text, reference)) / 2
