import pytest

from reasoning_lab.data.equations import equations, holds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9 + 9 = 18. 18 + 8 = 26.", [("9 + 9", "18"), ("18 + 8", "26")]),
        ("12 cakes * $3 = $36 in all", [("12 * 3", "36")]),
        ("So 20 miles/hour x 3 hours = 60 miles", [("20 * 3", "60")]),
        ("a total of 1,200 × 2=2,400", [("1200 * 2", "2400")]),
        ("1/2 * 10 = 5", [("1/2 * 10", "5")]),
        ("3 + 4 = 7 = 8 - 1", [("3 + 4", "7"), ("7", "8 - 1")]),
        ("Sarah = 472 points", [("", "472")]),
        ("no equation here", []),
    ],
)
def test_equations_are_found_among_words(text: str, found: list[tuple[str, str]]) -> None:
    assert equations(text) == found


@pytest.mark.parametrize(
    ("left", "right"),
    [("9 + 9", "18"), ("1/2 * 10", "5"), ("0.1 + 0.2", "0.3"), ("7 - 9", "4 - 6")],
)
def test_true_equations_hold(left: str, right: str) -> None:
    assert holds(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [("3024/60", "50"), ("48", "48"), ("1/3", "0.33"), ("1/0", "1"), ("", "472"), ("2 +", "2")],
)
def test_false_trivial_and_unreadable_equations_do_not(left: str, right: str) -> None:
    assert not holds(left, right)
