"""A story with a plan that it follows: a heuristic that key words and repetition cannot win."""

import re
from collections.abc import Sequence
from statistics import mean, pstdev
from typing import ClassVar

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.formats import parse
from reasoning_lab.rewards.overlap import copied, word_runs
from reasoning_lab.rewards.prose import content_words, ramp, reads_like_prose, sentences, words
from reasoning_lab.rewards.specs import Attempt, Reward

# What a plan talks about: who, what drives them, and how it is told.
_WHO = (
    "characters? protagonists? hero heroes heroine narrator motivations? motivated wants? wish "
    "wishes who friends? named called about"
)
_DRIVE = (
    "because therefore so conflicts? problem struggles? but until arc begins? starts? ends? ending "
    "finally then turns?"
)
_MANNER = (
    "tones? styles? pacing moods? voice setting feels? feeling gentle quiet dark funny calm warm "
    "playful sad hopeful theme sentences details?"
)
_PLANNED = tuple(
    re.compile(rf"\b(?:{terms.replace(' ', '|')})\b", re.IGNORECASE)
    for terms in (_WHO, _DRIVE, _MANNER)
)
_MIN_SENTENCE = 6  # words; a term in a shorter one says nothing
_PASTED = 5  # words of the question in a row: such a sentence was copied from it

# Words about a story, which a story itself hardly has.
_ABOUT_STORIES = re.compile(
    r"\b(?:characters?|protagonists?|motivations?|conflicts?|plot|pacing|tone|arc|theme"
    r"|climax|(?:the|this|my|a) story|readers?|narrator|narrative)\b",
    re.IGNORECASE,
)
# Words of the question about what is to be written, not what it is to be about.
_TASK = content_words(
    "write create compose make tell craft give story stories tale short brief long poem scene "
    "opening paragraph creative original words sentences about happens using include please piece "
    "fiction describe description letter following should must one two three"
)


@spec
class Creative(Reward):
    """sound * (plan_weight * plan + story_weight * story): 0 to 1. A heuristic, for English.

    0 without exactly one of each part, for a truncated completion, if the reasoning has under 50
    or the story (the answer) under 150 characters, and if either has more than max_chars.

    sound: the product of four. prose: both parts read like English (`reads_like_prose`; the lesser
    counts). apart: up to a tenth of either part's runs of four words stand in the other; 0 if half
    of them do. told: up to a sixth of the story's sentences talk about a character, tone or plot; 0
    if half of them do. about: 0.4 + 0.6 times how much of the question the story takes up: the
    share of the question's content words in it, all of it from 0.4 on. Sentences with five words
    in a row from the question do not count.
    plan: the mean of two. terms: whether sentences of six words or more speak of who it is about,
    of what drives it and of how it is told; never more of them than there are such sentences.
    carried: the share of the plan's content words that the story takes up; all of it from 0.25 on.
    story: the mean of three. length: from 150 characters to full_chars. rhythm: how much sentence
    lengths vary, standard deviation over mean, from 0.1 to 0.35. wording: the share of distinct
    words, from 0.4 to 0.7, among the first 100 of four letters or more.

    It cannot see whether the story is good, makes sense, or is new; nor what a question is about
    that names a genre alone: a story for it gets 0.4 at most.
    """

    made_for: ClassVar[tuple[str, ...] | None] = ("creative",)

    plan_weight: float = Field(default=0.4, ge=0, le=1, description="score of a plan, followed")
    story_weight: float = Field(default=0.6, ge=0, le=1, description="score of how it is written")
    min_plan_chars: int = Field(default=50, ge=1, description="reasoning has at least as many")
    min_story_chars: int = Field(default=150, ge=1, description="the story has at least as many")
    full_chars: int = Field(default=500, ge=1, description="a story of this length is long enough")
    max_chars: int = Field(default=6000, ge=1, description="either part has at most as many")

    def __post_init__(self) -> None:
        if not self.min_story_chars < self.full_chars <= self.max_chars:
            raise ValueError(
                f"lengths must grow from min_story_chars={self.min_story_chars} over "
                f"full_chars={self.full_chars} to max_chars={self.max_chars}"
            )
        if self.plan_weight == self.story_weight == 0:
            raise ValueError("plan_weight and story_weight must not both be 0")

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        return [self._score(attempt) for attempt in attempts]

    def _score(self, attempt: Attempt) -> float:
        parsed = parse(attempt.completion)
        plan, story = parsed.reasoning or "", parsed.answer or ""
        if (
            attempt.truncated
            or not self.min_plan_chars <= len(plan) <= self.max_chars
            or not self.min_story_chars <= len(story) <= self.max_chars
        ):
            return 0.0
        prose = min(reads_like_prose(plan), reads_like_prose(story))
        if not prose:  # there may be no sentence at all
            return 0.0
        sound = (
            prose
            * ramp(max(copied(story, plan, 4), copied(plan, story, 4)), 0.5, 0.1)
            * ramp(_share_about_stories(story), 1 / 2, 1 / 6)
            * (0.4 + 0.6 * _about(story, attempt.example.question))
        )
        return sound * (
            self.plan_weight * _plan(plan, story) + self.story_weight * self._told(story)
        )

    def _told(self, story: str) -> float:
        lengths = [len(words(sentence)) for sentence in sentences(story)]
        spoken = [word for word in words(story) if len(word) > 3][:100]
        return mean(
            (
                ramp(len(story), self.min_story_chars, self.full_chars),
                ramp(pstdev(lengths) / mean(lengths), 0.1, 0.35),
                ramp(len(set(spoken)) / max(len(spoken), 1), 0.4, 0.7),
            )
        )


def _plan(plan: str, story: str) -> float:
    spoken = [one for one in sentences(plan) if len(words(one)) >= _MIN_SENTENCE]
    terms = sum(any(pattern.search(one) for one in spoken) for pattern in _PLANNED)
    planned = content_words(plan)
    carried = len(planned & content_words(story)) / len(planned) if planned else 0.0
    return (min(terms, len(spoken)) / len(_PLANNED) + ramp(carried, 0, 0.25)) / 2


def _share_about_stories(story: str) -> float:
    found = sentences(story)
    return sum(bool(_ABOUT_STORIES.search(one)) for one in found) / len(found)


def _about(story: str, question: str) -> float:
    """How much of the question the story takes up in words of its own."""
    asked = content_words(question) - _TASK
    pasted = word_runs(question, _PASTED)
    own = " ".join(one for one in sentences(story) if pasted.isdisjoint(word_runs(one, _PASTED)))
    return ramp(len(asked & content_words(own)) / len(asked), 0, 0.4) if asked else 1.0
