from itertools import combinations

import numpy as np
import pytest

from reasoning_lab.evaluation.pass_at_k import pass_at_k


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_it_is_the_share_of_choices_with_a_right_completion(k: int) -> None:
    n, counts = 5, [0, 1, 3, 5]
    shares = []
    for count in counts:
        right = [True] * count + [False] * (n - count)
        choices = [any(choice) for choice in combinations(right, k)]
        shares.append(sum(choices) / len(choices))
    estimate, low, high = pass_at_k(counts, n, k)

    assert estimate == pytest.approx(np.mean(shares))
    assert low <= estimate <= high


def test_it_is_unbiased_and_its_interval_covers_the_truth() -> None:
    """Problems are right with a chance drawn from Beta(1, 2): pass@4 is 1 - E[(1 - p)^4] = 2/3."""
    draws = np.random.default_rng(0)
    estimates, covered, trials = [], 0, 300
    for _ in range(trials):
        counts = draws.binomial(8, draws.beta(1, 2, size=64))
        estimate, low, high = pass_at_k(counts.tolist(), 8, 4)
        estimates.append(estimate)
        covered += low <= 2 / 3 <= high
    assert np.mean(estimates) == pytest.approx(2 / 3, abs=0.01)
    assert 0.90 < covered / trials < 0.99


@pytest.mark.parametrize(("count", "estimate"), [(0, 0.0), (4, 1.0)])
def test_problems_that_are_all_alike_leave_doubt(count: int, estimate: float) -> None:
    found, low, high = pass_at_k([count] * 20, 4, 2)

    assert found == estimate
    assert high - low > 0.1


@pytest.mark.parametrize(("counts", "n", "k"), [([], 4, 1), ([1], 4, 5), ([1], 4, 0), ([5], 4, 1)])
def test_impossible_counts_are_refused(counts: list[int], n: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} of {n}"):
        pass_at_k(counts, n, k)
