import time
from dataclasses import replace

import pytest
from pydantic import ValidationError

from reasoning_lab.formats import render_completion
from reasoning_lab.rewards.creative import Creative
from reasoning_lab.rewards.lint.problems.creative import PROBLEMS
from reasoning_lab.rewards.specs import Attempt
from tests.rewards.attempts import HOSTILE

PROBLEM, OTHER = PROBLEMS
PLAN, STORY = PROBLEM.honest[0].reasoning, PROBLEM.honest[0].answer


def score(plan: str, story: str, *, truncated: bool = False, **fields: float) -> float:
    one = Attempt(PROBLEM.example, render_completion(plan, story), truncated)
    (value,) = Creative(**fields).score([one])  # type: ignore[arg-type]
    return value


def test_honest_stories_earn_most_of_it() -> None:
    for problem in PROBLEMS:
        for honest in problem.honest:
            completion = render_completion(honest.reasoning, honest.answer)
            assert Creative().score([Attempt(problem.example, completion, False)])[0] > 0.6


@pytest.mark.parametrize(
    ("plan", "story"),
    [
        ("x" * 49, STORY),
        (PLAN, STORY[:149]),
        (PLAN, STORY * 8),  # over 6,000 characters
        (PLAN * 20, STORY),
        (PLAN, PLAN),
        (STORY, STORY),
        (PLAN, f"{PLAN} {PLAN}"),
        (PLAN, ". " * 200),
        (PLAN, "!" * 200),
        (PLAN, "a" * 200),
    ],
)
def test_what_earns_nothing(plan: str, story: str) -> None:
    assert score(plan, story) == 0


def test_a_truncated_or_doubled_completion_earns_nothing() -> None:
    assert score(PLAN, STORY, truncated=True) == 0
    doubled = Attempt(PROBLEM.example, render_completion(PLAN, STORY) * 2, False)
    assert Creative().score([doubled]) == [0]


def test_a_story_about_something_else_earns_two_fifths_at_most() -> None:
    story = OTHER.honest[0].answer
    assert score(OTHER.honest[0].reasoning, story) <= 0.4
    question = PROBLEM.example.question
    assert score(PLAN, f"{question} {story}") <= 0.4
    assert score(PLAN, f"{story} {question}") <= 0.4


def test_a_plan_must_speak_and_be_followed() -> None:
    idle = "It is fine to do this now. I have seen that others did so and they were right."
    assert score(idle, STORY) < score(PLAN, STORY) - 0.2
    terms = "Character, motivation. Because, conflict. Tone, style, pacing. "
    assert score(terms * 1, STORY) < score(PLAN, STORY) - 0.2


def test_repeating_costs() -> None:
    sentences = STORY.replace("\n\n", " ").split(". ")
    once = ". ".join(sentences[:8]) + "."
    assert score(PLAN, f"{once} {once}") < 0.7 * score(PLAN, once)
    assert score(PLAN, " ".join([sentences[0] + "."] * 20)) == 0


def test_talking_about_the_story_is_not_telling_it() -> None:
    meta = (
        "The protagonist is a keeper of a lighthouse. In the first part of the story she finds a "
        "letter in a bottle. The conflict is that she is lonely. The tone of the ending is calm, "
        "and the reader is left with the theme of trust. Her motivation has changed by then."
    )
    assert score(PLAN, meta) == 0


def test_a_longer_story_is_worth_more_up_to_a_point() -> None:
    short, longer = STORY[:260], STORY[:500]
    assert score(PLAN, short) < score(PLAN, longer)
    assert score(PLAN, short, full_chars=200) > score(PLAN, short)


def test_no_hostile_text_raises_or_hangs_or_leaves_the_range() -> None:
    started = time.monotonic()
    attempts = [Attempt(PROBLEM.example, text, False) for text in HOSTILE]
    for text in HOSTILE:
        for plan, story in ((text, text), (PLAN, text), (text, STORY)):
            attempts.append(Attempt(PROBLEM.example, render_completion(plan, story), False))
    assert all(0 <= value < 0.6 for value in Creative().score(attempts))
    asked = [replace(PROBLEM.example, question=text) for text in HOSTILE]
    attempts = [Attempt(one, render_completion(PLAN, STORY), False) for one in asked]
    attempts.append(
        Attempt(
            replace(PROBLEM.example, question="a red cat " * 100_000), attempts[0].completion, False
        )
    )
    assert all(0 <= value <= 1 for value in Creative().score(attempts))
    big = Creative(max_chars=10**7)
    assert all(0 <= value <= 1 for value in big.score(attempts))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"min_story_chars": 600}, "lengths must grow"),
        ({"max_chars": 400}, "lengths must grow"),
        ({"plan_weight": 0.0, "story_weight": 0.0}, "not both be 0"),
    ],
)
def test_fields_have_bounds(fields: dict[str, float], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Creative(**fields)  # type: ignore[arg-type]
