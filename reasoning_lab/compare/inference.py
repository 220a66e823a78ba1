"""Intervals and p-values for many differences at once, between runs or between problems.

Two kinds of noise are told apart. Over seeds: would training again say the same? Over problems:
would these trained models differ on other problems? Only the first says which setting to use.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import comb, inf, sqrt

import numpy as np
from scipy import stats

LEVEL = 0.05
_POWER = 0.8
_FLIPS = 50_000
_FLIPS_AT_ONCE = 1_000
_MOST_REPLICATES = 1_000  # above, the normal approximation is as good
_AS_GOOD_AS_KNOWN = 1_000  # degrees of freedom; SciPy cannot integrate well far above
_SMALLEST_P = 1e-12
_EXACT_PAIRS = 60  # the p-value of a pair takes 9 ms


@dataclass(frozen=True)
class Tested:
    """Differences with simultaneous 95% intervals and adjusted p-values; float64[differences]."""

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray


def untestable(difference: np.ndarray) -> Tested:
    """Differences of which the data do not say how much is noise."""
    unbounded = np.full(len(difference), inf)
    return Tested(difference, -unbounded, unbounded, np.ones(len(difference)))


def tukey_kramer(difference: np.ndarray, error: np.ndarray, groups: int, freedom: int) -> Tested:
    """All pairs of `groups` means (Tukey 1953; Kramer 1956, Biometrics 12, 307-310).

    Exact where all means have the same variance and conservative otherwise (Hayter 1984, Annals
    of Statistics 12, 61-75); choosing the best mean after seeing all is therefore allowed for.

    Args:
        error: the standard error of each difference, above 0.
    """
    known = freedom if freedom < _AS_GOOD_AS_KNOWN else inf
    half = _tukey_critical(groups, known) / sqrt(2) * error
    p_value = _tukey_p(sqrt(2) * np.abs(difference) / error, groups, known)
    return Tested(difference, difference - half, difference + half, p_value)


@lru_cache(maxsize=256)
def _tukey_critical(groups: int, freedom: float) -> float:
    return float(stats.studentized_range.ppf(1 - LEVEL, groups, freedom))


def _tukey_p(studentized: np.ndarray, groups: int, freedom: float) -> np.ndarray:
    """For many pairs interpolated in log p to 1%; far out too large rather than too small."""
    if len(studentized) <= _EXACT_PAIRS:
        p_value = stats.studentized_range.sf(studentized, groups, freedom)
        return np.asarray(np.clip(p_value, 0.0, 1.0))
    grid = np.linspace(0, 3 * _tukey_critical(groups, freedom), _EXACT_PAIRS)
    exact = np.clip(stats.studentized_range.sf(grid, groups, freedom), _SMALLEST_P, 1.0)
    return np.asarray(np.exp(np.interp(studentized, grid, np.log(exact))))


def bonferroni_t(difference: np.ndarray, error: np.ndarray, freedom: int) -> Tested:
    """Student's t for each difference; intervals and p-values after Bonferroni (Dunn 1961)."""
    many = len(difference)
    half = stats.t.ppf(1 - LEVEL / (2 * many), freedom) * error
    p_value = np.minimum(1.0, many * 2 * stats.t.sf(np.abs(difference) / error, freedom))
    return Tested(difference, difference - half, difference + half, p_value)


def replicates_needed(difference: float, spread: float, groups: int, have: int) -> int:
    """Seeds of each of `groups` settings with which a difference of this size would be found.

    With a power of 80%, at the level that Bonferroni gives each of the pairs, which is a little
    stricter than Tukey's. The t approximation to the noncentral t (Cohen 1988, chapter 2).

    Args:
        spread: the standard deviation of one run, without what its seed does to all settings.
        have: seeds there are, which were too few.
    """
    counts, quantiles = _quantiles_by_replicates(groups)
    enough = np.abs(difference) >= quantiles * spread * np.sqrt(2 / counts)
    enough &= counts > have
    if enough.any():
        return int(counts[np.argmax(enough)])
    return int(np.ceil(2 * (quantiles[-1] * spread / difference) ** 2))


@lru_cache(maxsize=32)
def _quantiles_by_replicates(groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of replicates, and what the standard error of a difference is multiplied by."""
    counts = np.arange(2, _MOST_REPLICATES)
    freedom = (groups - 1) * (counts - 1)
    level = stats.t.ppf(1 - LEVEL / (2 * comb(groups, 2)), freedom)
    return counts, level + stats.t.ppf(_POWER, freedom)


@dataclass(frozen=True)
class Problems:
    """What models earned on problems that all of them answered.

    values: float64[models, problems]; domains: int64[problems], from 0.
    weights: float64[problems], the problems' shares of the score, 1 together.
    """

    values: np.ndarray
    domains: np.ndarray
    weights: np.ndarray

    @property
    def count(self) -> int:
        return len(self.weights)


def over_problems(problems: Problems, contrasts: np.ndarray, *, holm: bool) -> Tested:
    """Differences between models on the same problems.

    The p-value is that of flipping signs (Fisher 1935, The Design of Experiments, section 21):
    how often chance alone would make as large a difference, had each problem's difference been
    as likely the other way round. On right answers this is McNemar's exact test, drawn rather
    than counted. Adjusted after Holm (1979) or Bonferroni; the intervals after Bonferroni.

    Args:
        contrasts: float64[differences, models]; the weights with which models are subtracted.
    """
    by_problem = contrasts @ problems.values  # [differences, problems]
    difference = by_problem @ problems.weights
    error = standard_error(by_problem, problems)
    many = len(contrasts)
    half = stats.t.ppf(1 - LEVEL / (2 * many), max(problems.count - 1, 1)) * error
    p_value = _flip_signs(by_problem * problems.weights)
    adjusted = _holm(p_value) if holm else np.minimum(1.0, many * p_value)
    return Tested(difference, difference - half, difference + half, adjusted)


def standard_error(by_problem: np.ndarray, problems: Problems) -> np.ndarray:
    """Of weighted means over problems, with one variance within all domains; float64[means].

    One problem gained and one lost are added, so that few problems that all agree do not pass for
    certainty (Bonett and Price 2012, Journal of Educational and Behavioral Statistics 37).
    """
    within = np.zeros(len(by_problem))
    for domain in np.unique(problems.domains):
        here = by_problem[:, problems.domains == domain]
        within += ((here - here.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    added = 2 * np.abs(by_problem).max(axis=1) ** 2
    freedom = max(problems.count + 2 - len(np.unique(problems.domains)), 1)
    variance = (within + added) / freedom
    return np.asarray(np.sqrt(variance * (problems.weights**2).sum()))


def problems_needed(difference: float, error: float, pairs: int, have: int) -> int:
    """Problems in all with which a difference of this size would be found.

    With a power of 80% at the level of Bonferroni (the normal approximation of Connor 1987,
    Biometrics 43, for the error seen).
    """
    quantiles = stats.norm.ppf(1 - LEVEL / (2 * pairs)) + stats.norm.ppf(_POWER)
    return max(int(np.ceil(have * (quantiles * error / difference) ** 2)), have + 1)


def _flip_signs(parts: np.ndarray) -> np.ndarray:
    """Two-sided p-value of each row's sum; never 0 (Phipson and Smyth 2010)."""
    seen = np.abs(parts.sum(axis=1))
    reached = np.zeros(len(parts))
    random = np.random.default_rng(0)
    for _ in range(_FLIPS // _FLIPS_AT_ONCE):
        signs = 2.0 * random.integers(0, 2, (_FLIPS_AT_ONCE, parts.shape[1])) - 1
        reached += (np.abs(signs @ parts.T) >= seen - 1e-9).sum(axis=0)
    return np.asarray((reached + 1) / (_FLIPS + 1))


def _holm(p_values: np.ndarray) -> np.ndarray:
    order = np.argsort(p_values)
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def mean_half_widths(error: np.ndarray, freedom: int) -> np.ndarray:
    """Half the widths of 95% intervals for single means (Student 1908); float64[means]."""
    return np.asarray(stats.t.ppf(1 - LEVEL / 2, freedom) * error)
