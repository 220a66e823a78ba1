"""Chunked log-probabilities against the plain ones, in value, gradient and memory."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import GEMMA1

from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.loss import target_log_probs

B, T, D, V = 3, 21, 16, 96
PLAIN = replace(GEMMA1, embed_dim=D, vocab_size=V)
CAPPED = replace(PLAIN, final_softcap=1.5)


def inputs(dtype: Any = jnp.float32) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """embedding, hidden, targets, and a mask whose rows hold all, a few scattered and no targets."""
    rng = np.random.default_rng(0)
    mask = np.zeros((B, T), bool)
    mask[0] = True
    mask[1, [0, 3, 4, 11, 20]] = True
    return (
        jnp.asarray(rng.normal(0, 1, (V, D)), dtype),
        jnp.asarray(rng.normal(0, 1, (B, T, D)), dtype),
        jnp.asarray(rng.integers(0, V, (B, T)), jnp.int32),
        jnp.asarray(mask),
    )


def plain_log_probs(
    arch: Architecture,
    embedding: jax.Array,
    hidden: jax.Array,
    targets: jax.Array,
    mask: jax.Array,
    temperature: float,
) -> jax.Array:
    """The definition, with all logits in memory."""
    logits = jnp.einsum("btd,vd->btv", hidden, embedding, preferred_element_type=jnp.float32)
    if arch.final_softcap:
        logits = arch.final_softcap * jnp.tanh(logits / arch.final_softcap)
    scores = jax.nn.log_softmax(logits / temperature)
    return jnp.where(mask, jnp.take_along_axis(scores, targets[..., None], -1)[..., 0], 0)


@pytest.mark.parametrize(
    ("arch", "temperature", "chunk"),
    [(PLAIN, 1.0, 7), (PLAIN, 0.7, 8), (CAPPED, 1.0, 64), (CAPPED, 1.3, 4)],
    ids=["plain", "tempered", "capped", "capped-tempered"],
)
def test_value_and_gradient(arch: Architecture, temperature: float, chunk: int) -> None:
    embedding, hidden, targets, mask = inputs()
    # Not every token weighs the same, as with advantages.
    weights = jnp.asarray(np.random.default_rng(1).normal(0, 1, (B, T)), jnp.float32)

    @jax.jit
    def ours(hidden: jax.Array, temperature: jax.Array) -> tuple[jax.Array, jax.Array]:
        base = {"embedding": embedding}
        scores = target_log_probs(arch, base, hidden, targets, mask, temperature, chunk)
        return (scores * weights).sum(), scores

    @jax.jit
    def plain(hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = plain_log_probs(arch, embedding, hidden, targets, mask, temperature)
        return (scores * weights).sum(), scores

    (_, scores), gradient = jax.value_and_grad(ours, has_aux=True)(hidden, jnp.float32(temperature))
    (_, expected), expected_gradient = jax.value_and_grad(plain, has_aux=True)(hidden)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)
    assert not np.asarray(scores)[~np.asarray(mask)].any()
    assert not np.asarray(gradient)[~np.asarray(mask)].any()


def test_scores_are_the_same_without_a_gradient() -> None:
    """Evaluation runs another program than training."""
    embedding, hidden, targets, mask = inputs()
    score = functools.partial(target_log_probs, CAPPED, {"embedding": embedding}, chunk=8)
    alone = jax.jit(score)(hidden, targets, mask)
    with_gradient, _ = (
        jax.jit(lambda h: jax.vjp(lambda h: score(h, targets, mask), h)[0])(hidden),
        0,
    )
    np.testing.assert_allclose(alone, with_gradient, rtol=1e-6)


def test_no_target_at_all_gives_zero_and_no_gradient() -> None:
    embedding, hidden, targets, mask = inputs()

    def total(hidden: jax.Array) -> jax.Array:
        scores = target_log_probs(
            PLAIN, {"embedding": embedding}, hidden, targets, jnp.zeros_like(mask)
        )
        return scores.sum()

    value, gradient = jax.value_and_grad(total)(hidden)
    assert value == 0
    assert not gradient.any()


def test_bfloat16_weights_give_float32_scores_near_the_exact_ones() -> None:
    embedding, hidden, targets, mask = inputs(jnp.bfloat16)

    def total(hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = target_log_probs(PLAIN, {"embedding": embedding}, hidden, targets, mask)
        return scores.sum(), scores

    (_, scores), gradient = jax.value_and_grad(total, has_aux=True)(hidden)
    wide = [x.astype(jnp.float32) for x in (embedding, hidden)]
    plain = functools.partial(plain_log_probs, PLAIN, wide[0])
    exact_gradient = jax.grad(lambda h: plain(h, targets, mask, 1.0).sum())(wide[1])
    assert scores.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(scores, plain(wide[1], targets, mask, 1.0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient.astype(jnp.float32), exact_gradient, rtol=0.05, atol=0.05)


def test_logits_of_the_whole_batch_are_never_in_memory() -> None:
    """Neither in the forward nor in the backward pass, with a large vocabulary."""
    rows, length, vocab, chunk = 4, 128, 32_768, 8
    arch = replace(CAPPED, vocab_size=vocab)
    shapes = (
        jax.ShapeDtypeStruct((vocab, D), jnp.float32),
        jax.ShapeDtypeStruct((rows, length, D), jnp.float32),
        jax.ShapeDtypeStruct((rows, length), jnp.int32),
        jax.ShapeDtypeStruct((rows, length), jnp.bool),
    )
    whole = rows * length * vocab * 4
    one_chunk = rows * chunk * vocab * 4

    def ours(embedding: jax.Array, hidden: jax.Array, *rest: jax.Array) -> jax.Array:
        return target_log_probs(arch, {"embedding": embedding}, hidden, *rest, chunk=chunk).sum()

    def plain(embedding: jax.Array, hidden: jax.Array, *rest: jax.Array) -> jax.Array:
        return plain_log_probs(arch, embedding, hidden, *rest, temperature=1.0).sum()

    def temporaries(function: Any) -> int:
        compiled = jax.jit(jax.grad(function, argnums=1)).lower(*shapes).compile()
        size: int = compiled.memory_analysis().temp_size_in_bytes
        return size

    assert temporaries(ours) < 6 * one_chunk < whole / 2
    assert temporaries(plain) >= whole  # so the measure sees such an array
