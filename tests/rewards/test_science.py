import time
from dataclasses import replace

import pytest
from pydantic import ValidationError

from reasoning_lab.data.example import AnswerKind, Example
from reasoning_lab.formats import render_completion
from reasoning_lab.rewards.science import Science
from reasoning_lab.rewards.specs import Attempt
from tests.rewards.attempts import HOSTILE

OPTIONS = ("the Sun", "the Moon", "the wind")
REASONING = (
    "The tides follow the pull on the oceans. The Moon is close to Earth, so it pulls most "
    "strongly on the water that causes tides."
)
CHOICE = Example(
    "tides",
    "quiz",
    "science",
    "What causes most of the tides in the oceans of Earth?",
    None,
    "B: the Moon",
    "",
    kind="choice",
    options=OPTIONS,
)


def of_kind(kind: AnswerKind, answer: str, reasoning: str | None = None) -> Example:
    return replace(CHOICE, kind=kind, answer=answer, reasoning=reasoning, options=())


def score(
    reasoning: str,
    answer: str,
    example: Example = CHOICE,
    *,
    truncated: bool = False,
    **fields: float,
) -> float:
    one = Attempt(example, render_completion(reasoning, answer), truncated)
    (value,) = Science(**fields).score([one])  # type: ignore[arg-type]
    return value


@pytest.mark.parametrize("given", ["B", "b.", "the Moon", "B: the Moon", "(B) the moon"])
def test_the_right_option_with_an_explanation_earns_all(given: str) -> None:
    assert score(REASONING, given) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "given", ["A", "the Sun", "A: the Moon", "A or B", "A, B, C", "Moon?!", ""]
)
def test_anything_else_earns_three_tenths_at_most(given: str) -> None:
    assert score(REASONING, given) <= 0.3
    assert score(REASONING, given, similarity_weight=0.0) == pytest.approx(0.2)


def test_a_short_answer_is_compared_exactly() -> None:
    example = of_kind("exact", "12 hours")
    assert score(REASONING, "12 hours", example) == pytest.approx(1.0)
    assert score(REASONING, "13 hours", example) <= 0.3


def test_overlap_never_makes_a_wrong_answer_nearly_right() -> None:
    example = replace(CHOICE, reasoning=REASONING)
    contradicted = REASONING.replace("is close", "is not close")
    assert score(contradicted, "C", example) <= 0.3
    assert score(REASONING, "B", example) == pytest.approx(1.0, abs=0.02)


def test_an_open_question_is_shaped_alone() -> None:
    example = of_kind("open", "The Moon pulls on the water.", REASONING)
    near = score(REASONING, "The Moon pulls on the water.", example)
    assert near == pytest.approx(0.3)
    assert (
        score("It is the wind that drives all of it, as I said.", "The wind.", example) < near / 2
    )


def test_similarity_follows_the_examples_reasoning() -> None:
    example = replace(CHOICE, reasoning=REASONING)
    other = "Of all bodies it is the nearest one. Because of that its force on oceans is largest."
    assert score(REASONING, "B", example) > score(other, "B", example) > 0.8


@pytest.mark.parametrize(
    ("reasoning", "thirds"),
    [
        (REASONING, 3),
        ("The tides of the oceans on Earth follow the Moon. It is a body close to it.", 2),
        ("It is nearer than any planet. So it pulls with much greater force.", 2),
        ("because therefore since thus hence so means makes causes because so", 0),
        (REASONING * 20, 0),  # too long
        ("Because.", 0),  # too short
        ("", 0),
    ],
)
def test_structure(reasoning: str, thirds: int) -> None:
    value = score(reasoning, "C", similarity_weight=0.0)
    assert value == pytest.approx(0.2 * thirds / 3)


def test_a_truncated_completion_is_not_correct() -> None:
    assert score(REASONING, "B", truncated=True) <= 0.3


def test_of_two_answers_none_is_right() -> None:
    one = Attempt(CHOICE, render_completion(REASONING, "B") + "<answer>A</answer>", False)
    assert Science().score([one])[0] == pytest.approx(0.2)


def test_no_hostile_text_raises_or_hangs_or_leaves_the_range() -> None:
    started = time.monotonic()
    for example in (CHOICE, replace(CHOICE, reasoning=REASONING), of_kind("exact", "12")):
        attempts = [Attempt(example, text, False) for text in HOSTILE]
        attempts += [Attempt(example, render_completion(text, text), False) for text in HOSTILE]
        assert all(0 <= value <= 0.3 for value in Science().score(attempts))
    references = [of_kind("open", text, text) for text in HOSTILE]
    attempts = [Attempt(one, render_completion(REASONING, "B"), False) for one in references]
    assert all(0 <= value <= 0.3 for value in Science().score(attempts))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"min_chars": 1500}, "leave room"),
        ({"correct_weight": 0.0, "similarity_weight": 0.0, "structure_weight": 0.0}, "not all"),
        ({"similarity_weight": 2.0}, "similarity_weight"),
    ],
)
def test_fields_have_bounds(fields: dict[str, float], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Science(**fields)  # type: ignore[arg-type]
