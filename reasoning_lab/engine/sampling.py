"""Choosing tokens from logits [V, B], without sorting the vocabulary and without noise over it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from reasoning_lab.engine.transformer import Array


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen. Temperature 0 is greedy, whatever the others say."""

    temperature: float = 0.0
    top_p: float = 1.0  # keep the likeliest tokens that have this much probability together
    top_k: int = 0  # keep this many of the likeliest tokens; 0: all

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    @property
    def truncates(self) -> bool:
        return not self.greedy and (self.top_p < 1 or self.top_k > 0)


def greedy(logits: Array) -> tuple[Array, Array]:
    """The likeliest tokens int32 [B] of logits [V, B], and their log-probabilities."""
    tokens = jnp.argmax(logits, axis=0).astype(jnp.int32)
    return tokens, logits.max(axis=0) - jax.nn.logsumexp(logits, axis=0)


def sample(
    logits: Array,
    uniform: Array,
    temperature: Array | float,
    top_p: Array | float,
    top_k: Array | int,
    *,
    truncate: bool,
) -> tuple[Array, Array]:
    """Draw one token of each column by inverting its cumulative distribution.

    jax.random.categorical draws Gumbel noise for every token of the vocabulary, which on a CPU
    takes as long as the logits themselves. One uniform number in two levels, first for a block of
    tokens and then in it, costs next to nothing.

    Args:
        logits: float32 [V, B].
        uniform: float32 [B] in [0, 1).
        temperature: above 0.
        top_p, top_k: as in `Sampling`, top_k after the temperature and top_p after top_k; unused
            unless `truncate`.

    Returns:
        Tokens int32 [B], and their log-probabilities float32 [B] under softmax(logits /
            temperature): of all tokens, as training computes them, also where some were cut off.
    """
    scaled = logits / temperature
    highest = scaled.max(axis=0)
    weights = jnp.exp(scaled - highest)
    log_total = jnp.log(weights.sum(axis=0)) + highest
    if truncate:
        count = jnp.where(top_k > 0, top_k, weights.shape[0])
        weights = _keep_likeliest(weights, jnp.ones_like(weights), count)
        weights = _keep_likeliest(weights, weights, top_p * weights.sum(axis=0))
    tokens = _invert(weights, uniform)
    chosen = jnp.take_along_axis(scaled, tokens[None], axis=0)[0]
    return tokens, chosen - log_total


def _keep_likeliest(weights: Array, measure: Array, goal: Array) -> Array:
    """Zero all but the largest weights [V, B] that together have at least `goal` [B] of `measure`.

    The threshold is found by bisection over the bit patterns of float32, which for numbers from 0
    to 1 are in the same order as the numbers: 31 sums instead of a sort of the vocabulary. Equal
    weights stay or go together.
    """

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds  # keeping those from `low` on is enough, from `high` on too few
        middle = low + (high - low) // 2
        kept = weights >= jax.lax.bitcast_convert_type(middle, jnp.float32)
        enough = jnp.where(kept, measure, 0).sum(axis=0) >= goal
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    lowest = jnp.zeros(weights.shape[1], jnp.int32)
    above_one = jax.lax.bitcast_convert_type(jnp.ones(weights.shape[1], jnp.float32), jnp.int32) + 1
    low, _ = jax.lax.fori_loop(0, 31, halve, (lowest, above_one))
    return jnp.where(weights >= jax.lax.bitcast_convert_type(low, jnp.float32), weights, 0.0)


def _invert(weights: Array, uniform: Array) -> Array:
    """The first index of each column [V, B] up to which `uniform` of its weight is passed."""
    V, B = weights.shape
    width = _block_width(V)
    blocks = weights.reshape(V // width, width, B)
    sums = blocks.sum(axis=1)
    by_block = jnp.cumsum(sums, axis=0)
    target = uniform * by_block[-1]
    block = _first_above(by_block, target, sums)
    before = jnp.where(block > 0, jnp.take_along_axis(by_block, block[None] - 1, axis=0)[0], 0.0)
    inside = jnp.take_along_axis(blocks, block[None, None], axis=0)[0]
    within = jnp.cumsum(inside, axis=0)
    return (block * width + _first_above(within, target - before, inside)).astype(jnp.int32)


def _first_above(cumulative: Array, target: Array, weights: Array) -> Array:
    """The first entry of each column [N, B] with weight whose cumulative weight exceeds `target`.

    Sums are rounded, in another order from entry to entry: they may move where nothing is added,
    and end at or below the target. So entries without weight are passed over, and where none
    exceeds the target, the last with weight is taken.
    """
    weighty = weights > 0
    above = weighty & (cumulative > target)
    last = len(weights) - 1 - jnp.argmax(weighty[::-1], axis=0)
    return jnp.where(above.any(axis=0), jnp.argmax(above, axis=0), last)


def _block_width(size: int) -> int:
    """The divisor of `size` nearest to its square root, from below."""
    return max(width for width in range(1, int(size**0.5) + 1) if size % width == 0)
