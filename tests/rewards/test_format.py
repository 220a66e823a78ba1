import itertools

import pytest

from reasoning_lab.formats import TAGS, parse
from reasoning_lab.rewards.format import Format
from tests.rewards.attempts import HOSTILE, attempt

R, R_END, A, A_END = TAGS


def score(completion: str, *, truncated: bool = False) -> float:
    (value,) = Format().score([attempt(completion, truncated=truncated)])
    return value


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (f"{R}x{R_END}{A}1{A_END}", 1.0),
        (f" {R}x{R_END}\n{A}1{A_END}\n", 1.0),
        (f"{R}{R_END}{A}1{A_END}", 0.75),  # an empty part
        (f"{R}x{R_END}so {A}1{A_END}", 0.5),  # text outside
        (f"{R}x{R_END}{A}1{A_END}{A}1{A_END}", 0.25),  # two tags repeated
        (f"{A}1{A_END}{R}x{R_END}", 0.25),  # the parts the wrong way round
        (f"{R}x{R_END}{A}1", 0.375),
        (f"{R}x", 0.125),
        (f"{A}1{A_END}", 0.25),
        (f"{A_END}{A}{R_END}{R}", 0.125),
        ("26", 0.0),
        ("", 0.0),
    ],
)
def test_the_formula(completion: str, expected: float) -> None:
    assert score(completion) == expected


def test_a_truncated_completion_never_gets_all() -> None:
    assert score(f"{R}x{R_END}{A}1{A_END}", truncated=True) == 0.75


def test_only_what_is_well_formed_gets_all_and_no_score_leaves_the_range() -> None:
    pieces = [*TAGS, "x", " "]
    for length in range(6):
        for chosen in itertools.product(pieces, repeat=length):
            text = "".join(chosen)
            value = score(text)
            assert 0 <= value <= 1
            assert (value == 1) == parse(text).well_formed
    assert all(0 <= score(text) <= 1 for text in HOSTILE)


def test_nothing_is_won_by_repeating_a_tag() -> None:
    for count in range(5):
        for tags in itertools.permutations(TAGS, count):
            for repeated in tags:
                assert score("".join([*tags, repeated])) <= score("".join(tags))
