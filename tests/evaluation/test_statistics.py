from math import comb, inf

import numpy as np
import pytest

from reasoning_lab.evaluation.statistics import (
    bootstrap_interval,
    mcnemar,
    mean_interval,
    paired_difference,
    problems_needed,
    wilson_interval,
)


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


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        # scipy.stats.t.interval
        ([1, 2, 3, 4], 0.44574, 4.55426),
        ([0] * 30 + [60] * 2, -1.57013, 9.07013),
    ],
)
def test_mean_interval(values: list[float], low: float, high: float) -> None:
    assert mean_interval(values) == pytest.approx((low, high), abs=0.01)


def test_mean_interval_of_one_value_says_nothing() -> None:
    assert mean_interval([3.0]) == mean_interval([]) == (-inf, inf)


def test_mean_and_bootstrap_intervals_cover_the_truth() -> None:
    """Skewed lengths, a fifth of them zero: mean 0.8 * 60."""
    draws = np.random.default_rng(0)
    covered = np.zeros(2)
    trials = 300
    for _ in range(trials):
        values = draws.gamma(4.0, 15.0, size=48) * (draws.random(48) < 0.8)
        intervals = (
            mean_interval(values.tolist()),
            bootstrap_interval(values.tolist(), resamples=1000),
        )
        for i, (low, high) in enumerate(intervals):
            covered[i] += low <= 48.0 <= high
    assert all(covered > 0.90 * trials)
    assert all(covered < 0.99 * trials)


def test_bootstrap_interval_is_that_of_resampled_problems() -> None:
    values = [-1.0] * 3 + [0.0] * 20 + [1.0] * 9
    resampled = np.random.default_rng(1).choice(values, size=(20_000, len(values))).mean(axis=1)

    assert bootstrap_interval(values) == pytest.approx(
        np.quantile(resampled, (0.025, 0.975)), abs=1 / len(values) + 1e-9
    )
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values, seed=1, resamples=50) != bootstrap_interval(values)
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval([])


def test_both_intervals_of_a_paired_difference_cover_the_truth() -> None:
    """20% of problems gained, 8% lost: the difference is 0.12."""
    draws = np.random.default_rng(0)
    wald = bootstrap = 0
    trials = 300
    for _ in range(trials):
        kind = draws.choice(4, size=128, p=[0.20, 0.08, 0.30, 0.42])  # gained, lost, both, neither
        compared = paired_difference(np.isin(kind, (1, 2)).tolist(), np.isin(kind, (0, 2)).tolist())
        wald += compared.low <= 0.12 <= compared.high
        bootstrap += compared.bootstrap_low <= 0.12 <= compared.bootstrap_high
    assert 0.91 < wald / trials < 0.99
    assert 0.91 < bootstrap / trials < 0.99


def test_problems_needed_give_a_power_of_80_percent() -> None:
    """With as many problems as it says, 8 tests in 10 find a true difference of 9 points."""
    observed = paired_difference(
        [False] * 15 + [True] * 6 + [False] * 79, [True] * 15 + [False] * 85
    )
    problems = problems_needed(observed)

    assert problems is not None
    assert 150 < problems < 250
    draws = np.random.default_rng(0).multinomial(problems, [0.15, 0.06, 0.79], size=2000)
    found = np.mean([mcnemar(int(gained), int(lost)) < 0.05 for gained, lost, _ in draws])
    assert 0.72 < found < 0.84  # the exact test is a little shy


def test_no_number_of_problems_tells_equal_models_apart() -> None:
    assert problems_needed(paired_difference([True, False, True], [False, True, True])) is None
