"""Grouped-query attention: over packed rows, and over what was read before.

On long rows the scores of a block of queries exist at a time, never those of all; they are computed
once more going backward (arXiv 2112.05682). A layer with a sliding window reads only the keys that
its window reaches. Plain JAX, because no fused kernel that JAX has takes Gemma on all three
platforms: cuDNN's ends at heads of 128 on an RTX 3090, where Gemma's are 256 wide, and the TPU's
splash kernel knows no branches.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from reasoning_lab.engine.architecture import Architecture

Array = jax.Array
Attention = Callable[[Array, Array, Array], Array]
"""Queries [B, T, N, H], keys and values [B, T, K, H] of new tokens -> [B, T, N, H]."""

BLOCK = 256
"""Queries whose scores exist at one time, on rows of more than `_FEW_BLOCKS` blocks."""

_FEW_BLOCKS = 4  # fewer than five save too little to be worth computing scores twice

_MASKED = -1e30  # not -inf: a row without any visible key must give numbers, not NaN


class Tokens(NamedTuple):
    """What decides which tokens of packed rows see which, [B, T] each; see `hidden_states`."""

    places: Array  # in the row
    positions: Array
    segment_ids: Array
    branch_ids: Array | None


def packed_attention(
    arch: Architecture,
    positions: Array,
    segment_ids: Array,
    branch_ids: Array | None,
    window: int | None,
    block: int = BLOCK,
) -> Attention:
    """Attention of packed rows, as all layers of one kind do it.

    Args:
        positions, segment_ids, branch_ids: int32 [B, T], as in `transformer.hidden_states`.
        window: tokens that a token sees, itself included; None: all before it.
    """
    places = jnp.broadcast_to(jnp.arange(positions.shape[1]), positions.shape)
    tokens = Tokens(places, positions, segment_ids, branch_ids)
    if positions.shape[1] > _FEW_BLOCKS * block:
        return lambda query, key, value: _blocked(arch, query, key, value, tokens, window, block)
    mask = _visible(tokens, tokens, window)
    return lambda query, key, value: attend(arch, query, [(key, value, mask)])


def _blocked(
    arch: Architecture,
    query: Array,
    key: Array,
    value: Array,
    tokens: Tokens,
    window: int | None,
    block: int,
) -> Array:
    T = query.shape[1]
    count = -(-T // block)
    # The branches of a segment count their positions alike: only without them are the tokens in a
    # window next to each other.
    near = window is not None and tokens.branch_ids is None
    before = -(-(window - 1) // block) * block if near and window is not None else 0
    behind = count * block - T

    def in_blocks(x: Array) -> Array:
        """[B, T, ...] -> [blocks, B, block, ...]"""
        x = _pad(x, 0, behind)
        return jnp.moveaxis(x.reshape(x.shape[0], count, block, *x.shape[2:]), 1, 0)

    keys, values = _pad(key, before, behind), _pad(value, before, behind)
    seen = jax.tree.map(lambda x: _pad(x, before, behind, fill=-1), tokens)

    @jax.checkpoint
    def one_block(number: Array, query: Array, asking: Tokens) -> Array:
        def reach(x: Array) -> Array:
            start = number * block
            return jax.lax.dynamic_slice_in_dim(x, start, before + block, 1) if near else x

        mask = _visible(asking, jax.tree.map(reach, seen), window)
        return attend(arch, query, [(reach(keys), reach(values), mask)])

    blocks = (jnp.arange(count), in_blocks(query), jax.tree.map(in_blocks, tokens))
    attended = jnp.moveaxis(jax.lax.map(lambda x: one_block(*x), blocks), 0, 1)
    return attended.reshape(query.shape[0], count * block, *query.shape[2:])[:, :T]


def attend(arch: Architecture, query: Array, parts: Sequence[tuple[Array, Array, Array]]) -> Array:
    """Grouped-query attention over keys that stand in several places.

    Args:
        query: [B, T, N, H].
        parts: keys and values [C, S, K, H] with their mask [B, T, S]. Where C is less than B, each
            row serves B / C consecutive queries: no copies of a prompt are read for its
            completions (arXiv 2403.08845).
    """
    B, T, N, H = query.shape
    scores = []
    for key, _, mask in parts:
        C, S, K, _ = key.shape
        grouped = query.reshape(C, B // C, T, K, N // K, H)
        part = jnp.einsum("crtkgh,cskh->crkgts", grouped, key, preferred_element_type=jnp.float32)
        part = softcap(part.reshape(B, K, N // K, T, S), arch.attention_softcap)
        scores.append(jnp.where(mask[:, None, None], part, _MASKED))
    probabilities = jax.nn.softmax(jnp.concatenate(scores, axis=-1), axis=-1)
    total = jnp.zeros((), query.dtype)
    start = 0
    for _, value, _ in parts:
        C, S, K, _ = value.shape
        part = probabilities[..., start : start + S].astype(value.dtype)
        part = part.reshape(C, B // C, K, N // K, T, S)
        total += jnp.einsum("crkgts,cskh->crtkgh", part, value).reshape(B, T, N, H)
        start += S
    return total


def softcap(x: Array, cap: float | None) -> Array:
    """cap * tanh(x / cap), Gemma 2's bound on logits; the identity where cap is None."""
    return x if cap is None else cap * jnp.tanh(x / cap)


def _visible(asking: Tokens, seen: Tokens, window: int | None) -> Array:
    """Which tokens see which, bool [B, T, S]."""

    def compare(relation: Any, x: Array, y: Array) -> Array:
        related: Array = relation(x[:, :, None], y[:, None, :])
        return related

    visible = compare(jnp.equal, asking.segment_ids, seen.segment_ids)
    visible &= compare(jnp.greater_equal, asking.places, seen.places)
    if asking.branch_ids is not None and seen.branch_ids is not None:
        same_branch = compare(jnp.equal, asking.branch_ids, seen.branch_ids)
        visible &= (seen.branch_ids[:, None] == 0) | same_branch
    if window is not None:
        visible &= compare(jnp.subtract, asking.positions, seen.positions) < window
    return visible


def _pad(x: Array, before: int, behind: int, fill: int = 0) -> Array:
    """[B, T, ...] -> [B, before + T + behind, ...]"""
    width = ((0, 0), (before, behind), *((0, 0),) * (x.ndim - 2))
    return jnp.pad(x, width, constant_values=fill)
