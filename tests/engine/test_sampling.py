"""What is drawn, against the distribution itself and against the sampler of Tunix."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tunix.generate.sampler import sample_top_p

from reasoning_lab.engine import sampling
from reasoning_lab.engine.sampling import Sampling, sample

Floats = np.ndarray[Any, Any]

_BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))
_draw = jax.jit(sample, static_argnames="truncate")


def logits_of(V: int, B: int = 1, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 2, (V, B)).astype(np.float32)


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """float64, over the first axis."""
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=0))
    result: Floats = weights / weights.sum(axis=0)
    return result


def cut(p: Floats, top_p: float, top_k: int) -> Floats:
    """By sorting: the `top_k` likeliest of p [V], and of these the fewest that have `top_p`."""
    order = np.argsort(-p, kind="stable")[: top_k or len(p)]
    kept = p[order] / p[order].sum()
    count = int(np.searchsorted(np.cumsum(kept), top_p)) + 1
    result = np.zeros_like(p)
    result[order[:count]] = kept[:count] / kept[:count].sum()
    return result


def draws(
    column: Floats, uniform: Floats, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0
) -> tuple[Floats, Floats]:
    """A token of the logits [V] for every uniform number, and its log-probability."""
    columns = jnp.broadcast_to(column[:, None], (len(column), len(uniform)))
    truncate = Sampling(temperature=temperature, top_p=top_p, top_k=top_k).truncates
    tokens, log_probs = _draw(
        columns, np.float32(uniform), temperature, top_p, top_k, truncate=truncate
    )
    return np.asarray(tokens), np.asarray(log_probs)


def evenly(count: int) -> Floats:
    """As uniform as numbers can be: each token must come out count x p times, within one or two."""
    return (np.arange(count, dtype=np.float32) + np.float32(0.5)) / count


def critical(freedom: int, deviations: float = 4) -> float:
    """Of chi-square, exceeded once in 30,000 times (Wilson and Hilferty's approximation)."""
    term = 2 / (9 * freedom)
    return float(freedom * (1 - term + deviations * term**0.5) ** 3)


def chi_square(counts: Floats, p: Floats) -> tuple[float, int]:
    """Of counts against p, tokens that are expected less than 5 times taken together."""
    expected = p * counts.sum()
    rare = expected < 5
    seen, expected = (
        np.append(x[~rare], x[rare].sum()) if x[rare].sum() > 0 else x[~rare]
        for x in (np.where(p > 0, counts, 0), expected)
    )
    return float(((seen - expected) ** 2 / expected).sum()), len(seen) - 1


def test_the_critical_value_is_that_of_tables() -> None:
    """Of p = 0.001, which is at 3.09 standard deviations."""
    assert critical(10, 3.0902) == pytest.approx(29.588, rel=0.01)
    assert critical(100, 3.0902) == pytest.approx(149.449, rel=0.01)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("V", [7, 15, 60, 512])
def test_even_uniform_numbers_give_each_token_its_share(V: int, temperature: float) -> None:
    column, N = logits_of(V)[:, 0], 4096
    tokens, _ = draws(column, evenly(N), temperature)
    counts = np.bincount(tokens, minlength=V)
    assert abs(counts - N * softmax(column, temperature)).max() < 1.01
    assert (np.diff(tokens) >= 0).all()


@pytest.mark.parametrize("V", [15, 512])
def test_random_numbers_give_the_distribution(V: int) -> None:
    column, N = logits_of(V, seed=1)[:, 0], 16_384
    tokens, _ = draws(column, np.asarray(jax.random.uniform(jax.random.key(0), (N,))), 1.3)
    counts = np.bincount(tokens, minlength=V)
    statistic, freedom = chi_square(counts, softmax(column, 1.3))
    assert statistic < critical(freedom)
    statistic, freedom = chi_square(counts, softmax(column, 1.0))
    assert statistic > critical(freedom)  # the test has power


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"),
    [(1.0, 1.0, 0), (0.7, 0.8, 0), (1.5, 1.0, 9), (1.2, 0.7, 20)],
)
def test_tunix_draws_from_the_same_distribution(
    temperature: float, top_p: float, top_k: int
) -> None:
    V, N = 60, 16_384
    column = logits_of(V, seed=2)[:, 0]
    uniform = np.asarray(jax.random.uniform(jax.random.key(1), (N,)))
    ours, _ = draws(column, uniform, temperature, top_p, top_k)
    same = jnp.broadcast_to(column, (N, 1, V))
    theirs, _ = sample_top_p(same, jax.random.key(2), temperature, top_p, top_k)
    counts = np.stack([np.bincount(np.asarray(x), minlength=V) for x in (ours, theirs)])
    assert ((counts[0] > 20) <= (counts[1] > 0)).all()
    assert ((counts[1] > 20) <= (counts[0] > 0)).all()
    both = counts.sum(axis=0)
    common = both >= 10
    difference = (counts[0] - counts[1])[common]
    statistic = (difference**2 / both[common]).sum()
    assert statistic < critical(common.sum() - 1)


@functools.cache
def _columns() -> Floats:
    return logits_of(60, 40, seed=3)


@pytest.mark.parametrize(
    ("top_p", "top_k"),
    [
        *((1.0, 1), (1.0, 5), (1.0, 59), (1.0, 60), (1.0, 500)),
        *((0.01, 0), (0.5, 0), (0.9, 0), (0.999, 0), (0.6, 5), (0.95, 20)),
    ],
)
def test_what_is_kept_is_what_a_sort_keeps(top_p: float, top_k: int) -> None:
    """Exactly top_k, and of these the fewest that have top_p, in their old proportions."""
    N = 4096
    for column in _columns().T[:8]:
        expected = cut(softmax(column, 1.4), top_p, top_k)
        tokens, _ = draws(column, evenly(N), 1.4, top_p, top_k)
        counts = np.bincount(tokens, minlength=len(column))
        assert not counts[expected == 0].any()
        assert abs(counts - N * expected).max() < 1.01


@pytest.mark.parametrize("top_k", [1, 5, 17])
def test_top_k_keeps_exactly_k_of_many_columns(top_k: int) -> None:
    logits = logits_of(512, 64, seed=4)
    weights = np.exp(logits - logits.max(axis=0))
    kept = np.asarray(sampling._keep_likeliest(weights, np.ones_like(weights), np.float32(top_k)))
    assert ((kept > 0).sum(axis=0) == top_k).all()
    np.testing.assert_array_equal(kept[kept > 0], weights[kept > 0])
    rank = np.argsort(np.argsort(-weights, axis=0), axis=0)
    np.testing.assert_array_equal(kept > 0, rank < top_k)


@pytest.mark.parametrize("top_p", [1.0, 0.5])
def test_log_probs_are_those_of_all_tokens_at_the_temperature(top_p: float) -> None:
    columns = _columns()
    uniform = np.random.default_rng(5).random(columns.shape[1], np.float32)
    tokens, log_probs = _draw(columns, uniform, 0.8, top_p, 0, truncate=top_p < 1)
    expected = np.log(softmax(columns, 0.8))[tokens, np.arange(len(tokens))]
    np.testing.assert_allclose(log_probs, expected, atol=2e-6)
    assert len(set(np.asarray(tokens).tolist())) > 5


def test_every_column_is_drawn_by_its_own_number() -> None:
    columns = _columns()
    uniform = np.random.default_rng(6).random(columns.shape[1], np.float32)
    together, _ = _draw(columns, uniform, 1.0, 1.0, 0, truncate=False)
    alone = [draws(column, uniform[[i]])[0][0] for i, column in enumerate(columns.T)]
    assert np.asarray(together).tolist() == alone


@pytest.mark.parametrize("V", [15, 512])
def test_no_number_ever_chooses_a_token_without_weight(V: int) -> None:
    """Not 0, not the greatest below 1, and none on a boundary, where sums are rounded."""
    rng, B = np.random.default_rng(7), 16_384
    weights = rng.random((V, B), np.float32) * (rng.random((V, B), np.float32) < 0.1)
    weights[: V // 8, : B // 4] = weights[-V // 4 :, B // 2 :] = 0
    weights[V // 2] += np.float32(0.01)
    edges = np.cumsum(weights, axis=0, dtype=np.float64) / weights.sum(axis=0, dtype=np.float64)
    edges = edges[rng.integers(0, V, B), np.arange(B)].astype(np.float32)
    numbers = [np.zeros(B), np.full(B, _BELOW_ONE), edges]
    numbers += [np.nextafter(edges, np.float32(end)) for end in (0, 1)]
    invert = jax.jit(sampling._invert)
    for uniform in numbers:
        tokens = invert(weights, np.clip(uniform, 0, _BELOW_ONE).astype(np.float32))
        assert (weights[np.asarray(tokens), np.arange(B)] > 0).all()


def test_sums_that_are_rounded_where_nothing_is_added_choose_nothing_there() -> None:
    """As XLA's cumulative sums are at full optimisation, which these tests do not run at."""
    half, above = np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(1))
    weights = np.float32([[0, 0.5, 0, 0, 0.5, 0]] * 4).T
    cumulative = np.float32([[0, half, above, half, 1, 1]] * 4).T
    chosen = sampling._first_above(cumulative, np.float32([-1e-8, 0, half, 1]), weights)
    assert chosen.tolist() == [1, 1, 4, 4]


def test_zero_chooses_the_first_token_kept_and_almost_one_the_last() -> None:
    column = logits_of(512, seed=8)[:, 0]
    kept = np.flatnonzero(cut(softmax(column), 1.0, 6))
    tokens, _ = draws(column, np.array([0, _BELOW_ONE]), top_k=6)
    assert tokens.tolist() == [kept[0], kept[-1]]


def test_greedy_is_the_likeliest_token_with_its_log_probability_at_temperature_one() -> None:
    columns = _columns()
    tokens, log_probs = sampling.greedy(jnp.asarray(columns))
    np.testing.assert_array_equal(tokens, columns.argmax(axis=0))
    np.testing.assert_allclose(log_probs, np.log(softmax(columns).max(axis=0)), atol=2e-6)


def test_temperature_zero_neither_samples_nor_truncates() -> None:
    assert Sampling(temperature=0, top_p=0.5, top_k=3).greedy
    assert not Sampling(temperature=0, top_p=0.5, top_k=3).truncates
    assert not Sampling(temperature=1).truncates
    assert Sampling(temperature=1, top_p=0.9).truncates
    assert Sampling(temperature=1, top_k=1).truncates


@pytest.mark.parametrize(("size", "width"), [(1, 1), (7, 1), (15, 3), (60, 6), (512, 16)])
def test_blocks_divide_the_vocabulary(size: int, width: int) -> None:
    assert sampling._block_width(size) == width
