import pytest
from pydantic import ValidationError

from reasoning_lab.rewards.length import Length
from tests.rewards.attempts import HOSTILE, answered, attempt


def score(completion: str, **fields: object) -> float:
    (value,) = Length(**fields).score([attempt(completion)])  # type: ignore[arg-type]
    return value


@pytest.mark.parametrize(
    ("chars", "expected"),
    [(0, -1), (25, -0.5), (50, 0), (100, 0), (110, -0.25), (140, -1), (10**6, -1)],
)
def test_slopes_on_both_sides_of_the_window(chars: int, expected: float) -> None:
    assert score("x" * chars, shortest=50, longest=100, margin=40) == expected


def test_no_shortest_length() -> None:
    assert score("", shortest=0) == 0


def test_words_and_parts() -> None:
    one = answered("26", reasoning="nine and nine and eight").completion
    fields = {"unit": "words", "shortest": 5, "longest": 5}
    assert score(one, part="reasoning", **fields) == 0
    assert score(one, part="answer", unit="words", shortest=2) == -0.5
    assert score(one * 2, part="reasoning", **fields) == -1  # which of the two is not known
    assert score("nine and nine and eight", **fields) == 0


def test_no_hostile_text_raises_or_leaves_the_range() -> None:
    attempts = [attempt(text) for text in HOSTILE]
    for unit in ("characters", "words"):
        scores = Length(unit=unit).score(attempts)  # type: ignore[arg-type]
        assert all(-1 <= value <= 0 for value in scores)


@pytest.mark.parametrize(
    ("fields", "told"),
    [({"shortest": 5000}, "swap them"), ({"margin": 0}, "margin"), ({"unit": "lines"}, "unit")],
)
def test_fields_have_bounds(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Length(**fields)  # type: ignore[arg-type]
