"""pass@k: how likely is a right answer among k sampled completions?"""

from collections.abc import Sequence
from math import comb
from statistics import fmean

from reasoning_lab.evaluation.statistics import bootstrap_interval, wilson_interval


def pass_at_k(counts_correct: Sequence[int], n: int, k: int) -> tuple[float, float, float]:
    """The unbiased estimate of pass@k (Chen et al. 2021, arXiv 2107.03374), and a 95% interval.

    The interval resamples problems (bootstrap). Where no problem was ever solved, or each one
    always, resampling sees no doubt: there the Wilson interval for 0 or all problems stands.

    Args:
        counts_correct: for each problem, how many of its completions are right.
        n: completions sampled for each problem.
        k: completions that may be tried, at most n.

    Returns:
        Estimate, low and high, between 0 and 1.

    Raises:
        ValueError: no problems, k not in 1..n, or a count not in 0..n.
    """
    if not counts_correct or not 1 <= k <= n or not all(0 <= c <= n for c in counts_correct):
        raise ValueError(f"pass@{k} of {n} completions with right ones: {list(counts_correct)}")
    ways = comb(n, k)  # to choose k completions; comb(n - c, k) of them without a right one
    shares = [1 - comb(n - count, k) / ways for count in counts_correct]
    if set(shares) in ({0.0}, {1.0}):
        low, high = wilson_interval(int(sum(shares)), len(shares))
    else:
        low, high = bootstrap_interval(shares)
    return fmean(shares), low, high
