from math import comb

import pytest

from reasoning_lab.evaluation.statistics import mcnemar, paired_difference, wilson_interval


@pytest.mark.parametrize(
    ("count", "denominator", "low", "high"),
    [
        # R: prop.test(count, denominator, correct = FALSE)$conf.int
        (0, 64, 0.0, 0.05663),
        (60, 64, 0.85003, 0.97543),
        (5, 10, 0.23659, 0.76341),
        (64, 64, 0.94337, 1.0),
    ],
)
def test_wilson_interval(count: int, denominator: int, low: float, high: float) -> None:
    assert wilson_interval(count, denominator) == pytest.approx((low, high), abs=1e-5)


def test_wilson_interval_of_nothing_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_wilson_interval_covers_the_truth() -> None:
    share, problems = 0.9, 64
    covered = sum(
        comb(problems, count) * share**count * (1 - share) ** (problems - count)
        for count in range(problems + 1)
        if wilson_interval(count, problems)[0] <= share <= wilson_interval(count, problems)[1]
    )
    assert 0.93 < covered < 0.98


@pytest.mark.parametrize(
    ("gained", "lost", "p_value"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 0, 1.0), (6, 0, 2 / 64), (8, 1, 20 / 512), (1, 8, 20 / 512)],
)
def test_mcnemar_is_a_two_sided_sign_test(gained: int, lost: int, p_value: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p_value)


def test_mcnemar_of_many_problems_does_not_overflow() -> None:
    assert 0 <= mcnemar(3000, 10) < 1e-300
    assert mcnemar(5000, 5000) == 1.0


def test_paired_difference_looks_at_the_problems_that_changed() -> None:
    before = [True] * 10 + [False] * 54
    after = [True] * 8 + [False] * 2 + [True] * 40 + [False] * 14
    compared = paired_difference(before, after)

    assert (compared.problems, compared.gained, compared.lost) == (64, 40, 2)
    assert compared.difference == pytest.approx(38 / 64)
    assert compared.low < compared.difference < compared.high
    assert compared.low == pytest.approx(0.437, abs=1e-3)
    assert compared.p_value == mcnemar(40, 2) < 1e-8


def test_equal_models_do_not_differ() -> None:
    compared = paired_difference([True, False] * 10, [True, False] * 10)

    assert compared.low < 0 < compared.high
    assert compared.p_value == 1.0


def test_unpaired_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="3 problems with 2"):
        paired_difference([True] * 3, [True] * 2)
    with pytest.raises(ValueError, match="0 problems"):
        paired_difference([], [])
