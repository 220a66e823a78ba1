"""Log-probabilities of given tokens without full-vocabulary logits in memory.

For a frozen output embedding E the gradient of log p(target) with respect to the hidden state is
(onehot - p) @ E, known as soon as p is. So the forward pass computes it chunk by chunk and keeps
[M, D] instead of [M, V] (the idea of Liger's fused linear cross entropy, arXiv 2410.10989), and the
backward pass is one multiplication by the incoming cotangent. Two matrix products with E in all,
where recomputing the logits would take three.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.layout import Execution, everywhere, place
from reasoning_lab.engine.transformer import Array, Base, logits

_PLAIN = Execution()


def target_log_probs(
    arch: Architecture,
    base: Base,
    hidden: Array,
    targets: Array,
    mask: Array,
    temperature: Array | float = 1.0,
    *,
    execution: Execution = _PLAIN,
) -> Array:
    """log p(target) under softmax(logits / temperature), float32 [B, T]; 0 where the mask is off.

    Only positions under the mask cost anything: they are moved to the front of their row, and
    chunks without any are skipped. Differentiable in `hidden` alone.

    Args:
        hidden: [B, T, D], the state from which each target is predicted.
        targets: int32 [B, T].
        mask: bool [B, T].
    """
    B, T = targets.shape
    chunk = _chunk(B, execution)
    order = jnp.argsort(~mask, axis=1, stable=True)
    padding = -T % chunk

    def gather(x: Array) -> Array:
        """Reorder, pad and cut into chunks: [B, T, ...] -> [chunks, B, chunk, ...]."""
        index = order.reshape(B, T, *(1,) * (x.ndim - 2))
        x = jnp.take_along_axis(x, index, axis=1)
        x = jnp.pad(x, ((0, 0), (0, padding), *((0, 0),) * (x.ndim - 2)))
        return jnp.moveaxis(x.reshape(B, -1, chunk, *x.shape[2:]), 1, 0)

    inverse_temperature = 1.0 / jnp.asarray(temperature, jnp.float32)
    embedding = base["embedding"]
    chunks = (gather(hidden), gather(targets), gather(mask))
    scores = _chunked(arch, execution.mesh, *chunks, inverse_temperature, embedding)
    flat = jnp.moveaxis(scores, 0, 1).reshape(B, T + padding)[:, :T]
    return jnp.take_along_axis(flat, jnp.argsort(order, axis=1), axis=1)


def _chunk(rows: int, execution: Execution) -> int:
    """Tokens of each row whose logits exist at one time: [V, 1024] of Gemma 3 are 1 GiB."""
    devices = execution.mesh.shape["fsdp"] if execution.mesh else 1
    return max(1, execution.logit_tokens * devices // rows)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _chunked(
    arch: Architecture,
    mesh: Mesh | None,
    hidden: Array,
    targets: Array,
    mask: Array,
    inverse_temperature: Array,
    embedding: Array,
) -> Array:
    def one_chunk(_: None, chunk: tuple[Array, Array, Array]) -> tuple[None, Array]:
        h, t, m = chunk

        def compute() -> Array:
            log_probs, *_ = _log_softmax(arch, mesh, h, t, inverse_temperature, embedding)
            return jnp.where(m, log_probs, 0.0)

        return None, jax.lax.cond(m.any(), compute, lambda: jnp.zeros(m.shape, jnp.float32))

    return jax.lax.scan(one_chunk, None, (hidden, targets, mask))[1]


def _chunked_forward(
    arch: Architecture,
    mesh: Mesh | None,
    hidden: Array,
    targets: Array,
    mask: Array,
    inverse_temperature: Array,
    embedding: Array,
) -> tuple[Array, Any]:
    def one_chunk(_: None, chunk: tuple[Array, Array, Array]) -> tuple[None, tuple[Array, Array]]:
        h, t, m = chunk

        def compute() -> tuple[Array, Array]:
            log_probs, scores, log_total = _log_softmax(
                arch, mesh, h, t, inverse_temperature, embedding
            )
            residual = _is_target(t, embedding) - jnp.exp(scores - log_total)
            if arch.final_softcap is not None:
                capped = scores / inverse_temperature
                residual *= 1 - jnp.square(capped / arch.final_softcap)
            residual = (residual * inverse_temperature).astype(embedding.dtype)
            gradient = everywhere(jnp.einsum("vm,vd->md", residual, embedding), mesh)
            gradient = place(gradient.reshape(h.shape), mesh, "fsdp")
            gradient = jnp.where(m[..., None], gradient, 0)
            return jnp.where(m, log_probs, 0.0), gradient.astype(h.dtype)

        def skip() -> tuple[Array, Array]:
            return jnp.zeros(m.shape, jnp.float32), jnp.zeros_like(h)

        return None, jax.lax.cond(m.any(), compute, skip)

    _, (scores, gradients) = jax.lax.scan(one_chunk, None, (hidden, targets, mask))
    return scores, gradients


def _chunked_backward(
    arch: Architecture, mesh: Mesh | None, gradients: Array, cotangent: Array
) -> tuple[Array, None, None, None, None]:
    return (cotangent[..., None].astype(gradients.dtype) * gradients, None, None, None, None)


_chunked.defvjp(_chunked_forward, _chunked_backward)


def _log_softmax(
    arch: Architecture,
    mesh: Mesh | None,
    h: Array,
    t: Array,
    inverse_temperature: Array,
    embedding: Array,
) -> tuple[Array, Array, Array]:
    """log p(t) [B, C], tempered logits [V, B*C] and their log-sum [B*C], of states h [B, C, D]."""
    h, t = everywhere((h, t), mesh)
    scores = logits(arch, {"embedding": embedding}, h.reshape(-1, h.shape[-1]), mesh)
    scores *= inverse_temperature
    log_total = jax.nn.logsumexp(scores, axis=0)
    chosen = jnp.where(_is_target(t, embedding), scores, 0.0).sum(axis=0)
    return (chosen - log_total).reshape(t.shape), scores, log_total


def _is_target(t: Array, embedding: Array) -> Array:
    """bool [V, B*C]. A comparison is fused; an index into a shared-out vocabulary costs a pass."""
    return jnp.arange(embedding.shape[0])[:, None] == t.ravel()
