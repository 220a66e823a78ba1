import time

import pytest
from pydantic import ValidationError

from reasoning_lab.rewards.correctness import is_right
from reasoning_lab.rewards.math import Math
from tests.rewards.attempts import HOSTILE, REASONING, answered, attempt


def score(one: object, **fields: float) -> float:
    (value,) = Math(**fields).score([one])  # type: ignore[arg-type, list-item]
    return value


def test_the_formula() -> None:
    assert score(answered("26")) == 1.0
    assert score(answered("27")) == 0.2
    assert score(answered("26", reasoning="")) == 0.8
    assert score(answered("27", reasoning="")) == 0.0
    assert score(attempt("26")) == 0.0
    assert score(answered("26"), correct_weight=0.5, structure_weight=0.25) == 0.75


@pytest.mark.parametrize(
    ("chars", "structure"), [(0, 0), (20, 0), (21, 1), (799, 1), (800, 0), (801, 0)]
)
def test_reasoning_must_be_longer_than_the_one_and_shorter_than_the_other(
    chars: int, structure: int
) -> None:
    assert score(answered("27", reasoning="x" * chars)) == 0.2 * structure
    assert score(answered("27", reasoning=f"  {'x' * chars}\n")) == 0.2 * structure


def test_of_two_answers_none_is_right() -> None:
    assert score(attempt(f"<reasoning>{REASONING}</reasoning><answer>26</answer>" * 2)) == 0.0
    assert score(attempt("<answer>25</answer><answer>26</answer>")) == 0.0


def test_text_outside_of_the_parts_does_not_matter() -> None:
    assert score(attempt(f"Well. {answered('26').completion} Yes.")) == 1.0


def test_a_truncated_completion_is_not_correct_as_in_the_evaluation() -> None:
    completion = answered("26").completion
    for truncated in (False, True):
        one = attempt(completion, truncated=truncated)
        [right] = is_right([one])
        assert score(one) == 0.8 * bool(right) + 0.2


def test_math_verify_is_asked_where_the_exact_comparison_says_no() -> None:
    formula = answered("1+x", "x+1")
    assert score(formula) == 1.0
    assert score(formula, verify=False) == 0.2


def test_every_attempt_has_its_score_in_order() -> None:
    attempts = [answered("26"), answered("27"), attempt(""), answered("26")]
    assert Math().score(attempts) == [1.0, 0.2, 0.0, 1.0]
    assert Math().score([]) == []


def test_no_hostile_text_raises_or_hangs_or_leaves_the_range() -> None:
    started = time.monotonic()
    for expected in ("26", "\\sqrt{26}"):
        hostile = [answered(text, expected) for text in HOSTILE]
        hostile += [attempt(text, expected) for text in HOSTILE]
        scores = Math().score([*hostile, answered("26", "26")])
        assert all(0 <= value <= 0.2 for value in scores[:-1])
        assert scores[-1] == 1.0
    hostile = [answered("\\sqrt{26}", text) for text in HOSTILE]
    assert all(0 <= value <= 1 for value in Math().score(hostile))
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"min_chars": 800}, "leave room"),
        ({"max_chars": 20}, "leave room"),
        ({"min_chars": -1}, "min_chars"),
        ({"correct_weight": 1.5}, "correct_weight"),
        ({"structure_weight": -0.1}, "structure_weight"),
        ({"correct_weight": 0.0, "structure_weight": 0.0}, "not both be 0"),
        ({"weight": 0.0}, "weight"),
    ],
)
def test_fields_have_bounds(fields: dict[str, float], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Math(**fields)  # type: ignore[arg-type]
