"""Attention block by block against the definition: values, gradients, what is held and computed."""

import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import GEMMA2

from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.attention import packed_attention

PLAIN = replace(GEMMA2, attention_softcap=None)
N, K, H = GEMMA2.num_heads, GEMMA2.num_kv_heads, GEMMA2.head_dim
BLOCK = 8


def packed_rows(length: int, branches: bool) -> dict[str, np.ndarray[Any, Any]]:
    """Two rows of several segments, with padding at the end of the second.

    With branches, every segment is a prompt of 5 tokens and completions of 7 that do not see each
    other and whose positions all begin behind the prompt.
    """
    rng = np.random.default_rng(0)
    positions, segments, branch_ids = (np.zeros((2, length), np.int32) for _ in range(3))
    for row, end in enumerate((length, length - 9)):
        start, segment = 0, 0
        while start < end:
            segment += 1
            size = min(int(rng.integers(3, 40)), end - start)
            within = np.arange(size)
            here = slice(start, start + size)
            segments[row, here] = segment
            branch_ids[row, here] = np.where(within < 5, 0, 1 + (within - 5) // 7)
            positions[row, here] = (
                np.where(within < 5, within, 5 + (within - 5) % 7) if branches else within
            )
            start += size
    return {
        "positions": positions,
        "segment_ids": segments,
        **({"branch_ids": branch_ids} if branches else {}),
    }


def by_definition(
    arch: Architecture,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    rows: dict[str, np.ndarray[Any, Any]],
    window: int | None,
) -> jax.Array:
    """One score a query, key and head, with all keys repeated for their heads."""
    T = query.shape[1]
    positions, segments = rows["positions"], rows["segment_ids"]
    visible = segments[:, :, None] == segments[:, None]
    visible &= np.arange(T)[:, None] >= np.arange(T)
    if "branch_ids" in rows:
        branches = rows["branch_ids"]
        visible &= (branches[:, None] == 0) | (branches[:, :, None] == branches[:, None])
    if window is not None:
        visible &= positions[:, :, None] - positions[:, None] < window
    key, value = (jnp.repeat(x, N // K, axis=2) for x in (key, value))
    scores = jnp.einsum("btnh,bsnh->bnts", query, key)
    if arch.attention_softcap:
        scores = arch.attention_softcap * jnp.tanh(scores / arch.attention_softcap)
    scores = jnp.where(visible[:, None], scores, -jnp.inf)
    return jnp.einsum("bnts,bsnh->btnh", jax.nn.softmax(scores), value)


@pytest.mark.parametrize("length", [64, 61], ids=["whole blocks", "part of a block"])
@pytest.mark.parametrize("branches", [False, True], ids=["segments", "branches"])
@pytest.mark.parametrize("window", [None, 5, 8, 20], ids=lambda w: f"window {w}")
def test_blocks_are_exact_in_value_and_gradient(
    length: int, branches: bool, window: int | None
) -> None:
    rng = np.random.default_rng(1)
    query, key, value, weights = (
        jnp.asarray(rng.normal(0, 1, (2, length, heads, H)), jnp.float32) for heads in (N, K, K, N)
    )
    rows = packed_rows(length, branches)
    arch = GEMMA2 if window == 8 else PLAIN

    def ours(query: jax.Array, key: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        attention = packed_attention(
            arch,
            jnp.asarray(rows["positions"]),
            jnp.asarray(rows["segment_ids"]),
            jnp.asarray(rows["branch_ids"]) if branches else None,
            window,
            block=BLOCK,
        )
        attended = attention(query, key, value)
        return (attended * weights).sum(), attended

    def plain(query: jax.Array, key: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        attended = by_definition(arch, query, key, value, rows, window)
        return (attended * weights).sum(), attended

    (_, attended), gradients = jax.value_and_grad(ours, (0, 1, 2), has_aux=True)(query, key, value)
    (_, expected), exact = jax.value_and_grad(plain, (0, 1, 2), has_aux=True)(query, key, value)
    np.testing.assert_allclose(attended, expected, rtol=1e-4, atol=1e-5)
    for gradient, wanted in zip(gradients, exact, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-3, atol=1e-4)


def gradient_program(length: int, window: int | None) -> Any:
    """Compiled: the gradient of attention over one row."""

    def total(query: jax.Array, key: jax.Array, value: jax.Array, *rows: jax.Array) -> jax.Array:
        positions, segments = rows
        attention = packed_attention(PLAIN, positions, segments, None, window)
        return attention(query, key, value).sum()

    query, key = (jax.ShapeDtypeStruct((1, length, heads, H), jnp.float32) for heads in (N, K))
    row = jax.ShapeDtypeStruct((1, length), jnp.int32)
    return jax.jit(jax.grad(total, (0, 1, 2))).lower(query, key, key, row, row).compile()


@pytest.mark.parametrize("length", [2048, 8192])
@pytest.mark.parametrize("window", [None, 256])
def test_no_array_has_a_score_of_every_pair_of_tokens(length: int, window: int | None) -> None:
    program = gradient_program(length, window)
    sizes = [
        int(np.prod([int(n) for n in shape.split(",")]))
        for shape in re.findall(r"(?:f32|pred|s32)\[([\d,]+)\]", program.as_text())
    ]
    assert max(sizes) < length * length * N / 4  # scores of every pair: length x length x N
    assert program.memory_analysis().temp_size_in_bytes < 4 * N * length * length


def test_a_window_costs_what_it_reaches() -> None:
    """A block of 256 queries sees itself and one block before it, not all 8."""
    whole, near = (gradient_program(2048, w).cost_analysis()["flops"] for w in (None, 256))
    assert near < 0.35 * whole  # 2 blocks of 8, and what does not depend on the window
