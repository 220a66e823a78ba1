"""A story with a plan, by counting key words: a heuristic that is easily cheated."""

import re
from collections.abc import Sequence
from typing import ClassVar

from reasoning_lab.config import spec
from reasoning_lab.formats import parse
from reasoning_lab.rewards.prose import ramp, sentences, words
from reasoning_lab.rewards.specs import Attempt, Reward

_MIN_REASONING, _MIN_STORY = 50, 150  # characters
_PEOPLE = re.compile(r"\b(?:characters?|protagonists?|motivations?)\b", re.IGNORECASE)
_CAUSES = re.compile(r"\b(?:because|therefore|conflicts?|arcs?)\b", re.IGNORECASE)
_MANNER = re.compile(r"\b(?:tones?|styles?|pacing)\b", re.IGNORECASE)


@spec
class CreativeBasic(Reward):
    """0.6 * planning + 0.4 * coherence: 0 to 1. A heuristic, there to be compared with `creative`.

    0 without exactly one of each part, if the reasoning has under 50 or the story (the answer)
    under 150 characters, and for a truncated completion.
    planning: 0.4 if the reasoning names a character, protagonist or motivation; 0.4 for because,
    therefore, conflict or arc; 0.2 for tone, style or pacing.
    coherence: the share of the story's sentences that are distinct, from 0 at 0.6 to 1 at 1.0.

    It cannot see anything else. Key words and distinct nonsense earn all of it, as
    `python -m reasoning_lab lint-reward reward=creative_basic` shows.
    """

    made_for: ClassVar[tuple[str, ...] | None] = ("creative",)

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        return [_score(attempt) for attempt in attempts]


def _score(attempt: Attempt) -> float:
    parsed = parse(attempt.completion)
    plan, story = parsed.reasoning or "", parsed.answer or ""
    if attempt.truncated or len(plan) < _MIN_REASONING or len(story) < _MIN_STORY:
        return 0.0
    planning = (
        0.4 * bool(_PEOPLE.search(plan))
        + 0.4 * bool(_CAUSES.search(plan))
        + 0.2 * bool(_MANNER.search(plan))
    )
    found = [" ".join(words(sentence)) for sentence in sentences(story)]
    coherence = ramp(len(set(found)) / len(found), 0.6, 1.0) if found else 0.0
    return 0.6 * planning + 0.4 * coherence
