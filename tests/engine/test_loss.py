"""Chunked log-probabilities against the plain ones, in value, gradient and memory."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import GEMMA1

from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.loss import target_log_probs

B, T, D, V = 3, 21, 16, 96
PLAIN = replace(GEMMA1, embed_dim=D, vocab_size=V)
CAPPED = replace(PLAIN, final_softcap=1.5)


def inputs(dtype: Any = jnp.float32) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """embedding, hidden, targets, and a mask whose rows hold all, a few and no targets."""
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
    [(PLAIN, 0.7, 64), (CAPPED, 1.3, 4)],
    ids=["one long chunk", "softcap and many chunks"],
)
def test_value_and_gradient(arch: Architecture, temperature: float, chunk: int) -> None:
    embedding, hidden, targets, mask = inputs()
    # Not every token weighs the same, as with advantages.
    weights = jnp.asarray(np.random.default_rng(1).normal(0, 1, (B, T)), jnp.float32)
    base = {"embedding": embedding}

    def ours(hidden: jax.Array, temperature: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = target_log_probs(
            arch,
            base,
            hidden,
            targets,
            mask,
            temperature,
            execution=Execution(logit_tokens=chunk * B),
        )
        return (scores * weights).sum(), scores

    def plain(hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = plain_log_probs(arch, embedding, hidden, targets, mask, temperature)
        return (scores * weights).sum(), scores

    with_gradient = jax.jit(jax.value_and_grad(ours, has_aux=True))
    (_, scores), gradient = with_gradient(hidden, jnp.float32(temperature))
    (_, expected), expected_gradient = jax.jit(jax.value_and_grad(plain, has_aux=True))(hidden)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)
    assert not np.asarray(scores)[~np.asarray(mask)].any()
    assert not np.asarray(gradient)[~np.asarray(mask)].any()
    # Evaluation takes no gradient, and so runs another program.
    _, alone = jax.jit(ours)(hidden, jnp.float32(temperature))
    np.testing.assert_allclose(alone, scores, rtol=1e-6)


def test_bfloat16_weights_give_float32_scores_near_the_exact_ones() -> None:
    embedding, hidden, targets, mask = inputs(jnp.bfloat16)

    def ours(hidden: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = target_log_probs(PLAIN, {"embedding": embedding}, hidden, targets, mask)
        return scores.sum(), scores

    def plain(hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        wide = embedding.astype(jnp.float32)
        scores = plain_log_probs(PLAIN, wide, hidden, targets, mask, 1.0)
        return scores.sum(), scores

    compute = jax.jit(jax.value_and_grad(ours, has_aux=True))
    (_, scores), gradient = compute(hidden, mask)
    exact = jax.jit(jax.value_and_grad(plain, has_aux=True))
    (_, expected), expected_gradient = exact(hidden.astype(jnp.float32))
    assert scores.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    difference = np.asarray(gradient, np.float32) - np.asarray(expected_gradient)
    assert abs(difference).max() < 0.02 * abs(np.asarray(expected_gradient)).max()

    # A batch without any target is worth nothing and moves nothing.
    (total, _), gradient = compute(hidden, np.zeros((B, T), bool))
    assert total == 0
    assert not np.asarray(gradient, np.float32).any()


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
        execution = Execution(logit_tokens=chunk * rows)
        base = {"embedding": embedding}
        return target_log_probs(arch, base, hidden, *rest, execution=execution).sum()

    def plain(embedding: jax.Array, hidden: jax.Array, *rest: jax.Array) -> jax.Array:
        return plain_log_probs(arch, embedding, hidden, *rest, temperature=1.0).sum()

    def temporaries(function: Any) -> int:
        compiled = jax.jit(jax.grad(function, argnums=1)).lower(*shapes).compile()
        size: int = compiled.memory_analysis().temp_size_in_bytes
        return size

    assert temporaries(ours) < 6 * one_chunk < whole / 2
    assert temporaries(plain) >= whole  # so the measure sees such an array
