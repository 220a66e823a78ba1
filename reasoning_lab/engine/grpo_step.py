"""The arithmetic of GRPO: log-probabilities of rows, and one optimizer step, jitted once.

Everything that a sweep varies (learning rate, beta, the clipping range, the temperature) is an
argument, not a constant of the compiled program. Only the micro-batches that hold anything are
computed: their number is an argument too. The others are skipped one by one: a loop whose length it
does not know, XLA:TPU unrolls, and holds the weights of two micro-batches.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.layout import Execution, everywhere
from reasoning_lab.engine.lora import as_layers
from reasoning_lab.engine.loss import target_log_probs
from reasoning_lab.engine.transformer import Array, Base, hidden_states

_PLAIN = Execution()

Rows = dict[str, Array]
"""Arrays of engine/grpo_batch.py, [micro-batches, rows, length]."""

_MAX_LOG_RATIO = 20.0  # exp of more would only overflow; a ratio this far out is clipped anyway


def token_log_probs(
    params: Any,
    base: Base,
    lora_scale: Array | float,
    temperature: Array | float,
    rows: Rows,
    *,
    arch: Architecture,
    target_modules: tuple[str, ...],
    execution: Execution = _PLAIN,
) -> Array:
    """log p of every token of a completion at a temperature, float32 [rows, length]; else 0."""
    hidden = hidden_states(
        arch,
        base,
        as_layers(params, target_modules),
        lora_scale,
        rows["tokens"],
        rows["positions"],
        rows["segment_ids"],
        rows["branch_ids"],
        execution=execution,
    )
    hidden = jnp.take_along_axis(hidden, rows["predictors"][..., None], axis=1)
    return target_log_probs(
        arch, base, hidden, rows["tokens"], rows["mask"], temperature, execution=execution
    )


@functools.partial(jax.jit, static_argnames=("arch", "target_modules", "execution"))
def log_probs_of_rows(
    params: Any,
    base: Base,
    rows: Rows,
    used: Array | int,
    lora_scale: Array | float,
    temperature: Array | float,
    *,
    arch: Architecture,
    target_modules: tuple[str, ...],
    execution: Execution = _PLAIN,
) -> Array:
    """`token_log_probs` of the first `used` micro-batches, [micro-batches, rows, length]."""
    score = functools.partial(
        token_log_probs, arch=arch, target_modules=target_modules, execution=execution
    )

    def one(_: None, index: Array) -> tuple[None, Array]:
        def compute() -> Array:
            micro_batch = jax.tree.map(lambda x: x[index], rows)
            return score(params, base, lora_scale, temperature, micro_batch)

        def skip() -> Array:
            return jnp.zeros(rows["tokens"].shape[1:], jnp.float32)

        return None, jax.lax.cond(index < used, compute, skip)

    return jax.lax.scan(one, None, jnp.arange(len(rows["tokens"])))[1]


def policy_loss(
    log_probs: Array,
    old: Array,
    reference: Array,
    rows: Rows,
    beta: Array | float,
    epsilon_low: Array | float,
    epsilon_high: Array | float,
    *,
    sequence_ratio: bool,
) -> tuple[Array, dict[str, Array]]:
    """The loss of one micro-batch, and sums over its tokens to report.

    Per token, min(ratio * A, clip(ratio, 1 - epsilon_low, 1 + epsilon_high) * A) - beta * KL, with
    minus signs, times the token's weight: eq. 3 of GRPO (arXiv 2402.03300), the clipping range of
    DAPO (arXiv 2503.14476). KL is estimated by k3 = r - 1 - log r with r = reference / policy
    (http://joschu.net/blog/kl-approx.html). Its value estimates KL(policy, reference); its gradient
    is on average that of KL(reference, policy), which is the same to first order and pulls the same
    way. In a loss, k1 = -log r would have gradient zero on average; it belongs into the reward.

    Args:
        log_probs, old, reference: float32 [rows, length]; gradients flow through the first alone.
        sequence_ratio: one ratio a completion, the geometric mean of its tokens' (GSPO, arXiv
            2507.18071), in place of one a token.
    """
    mask = rows["mask"]
    log_ratio = jnp.where(mask, log_probs - old, 0.0)
    if sequence_ratio:
        log_ratio = _mean_of_completion(log_ratio, rows)
    ratio = jnp.exp(jnp.clip(log_ratio, -_MAX_LOG_RATIO, _MAX_LOG_RATIO))
    clipped = jnp.clip(ratio, 1 - epsilon_low, 1 + epsilon_high)
    gain, clipped_gain = ratio * rows["advantages"], clipped * rows["advantages"]
    distance = jnp.where(mask, reference - log_probs, 0.0)
    distance = jnp.clip(distance, -_MAX_LOG_RATIO, _MAX_LOG_RATIO)
    kl = jnp.exp(distance) - 1 - distance
    loss = jnp.where(mask, beta * kl - jnp.minimum(gain, clipped_gain), 0.0) * rows["weights"]
    sums = {
        "kl": jnp.where(mask, kl, 0.0).sum(),
        "clip_fraction": (mask & (clipped_gain < gain)).sum().astype(jnp.float32),
        "entropy": -jnp.where(mask, log_probs, 0.0).sum(),
    }
    return loss.sum(), sums


@functools.partial(
    jax.jit,
    static_argnames=("arch", "target_modules", "direction", "sequence_ratio", "execution"),
    donate_argnames=("params", "optimizer_state"),
)
def train_step(
    params: Any,
    optimizer_state: Any,
    base: Base,
    rows: Rows,
    used: Array | int,
    old: Array,
    first: Array | bool,
    reference: Array,
    learning_rate: Array | float,
    beta: Array | float,
    epsilon_low: Array | float,
    epsilon_high: Array | float,
    temperature: Array | float,
    lora_scale: Array | float,
    *,
    arch: Architecture,
    target_modules: tuple[str, ...],
    direction: optax.GradientTransformation,
    sequence_ratio: bool,
    execution: Execution = _PLAIN,
) -> tuple[Any, Any, Array, dict[str, Array]]:
    """Accumulate gradients over the used micro-batches and update once.

    An update whose loss or gradient is not finite is not made: weights and optimizer state stay as
    they were.

    Args:
        params: LoRA weights; donated, as is optimizer_state.
        rows: [micro-batches, rows, length].
        used: micro-batches to compute.
        old: log-probabilities before the first update with these rows, returned by that update.
        first: whether this is that update; then `old` is not read.
        reference: log-probabilities of the reference policy.

    Returns:
        New LoRA weights, new optimizer state, the log-probabilities [micro-batches, rows, length]
            before this update, and float32 scalars: loss, grad_norm (before clipping), kl,
            clip_fraction and entropy (means over tokens; entropy as -log p of what was sampled),
            skipped (1 where the update was not made).
    """

    def loss_fn(params: Any, micro_batch: Rows, old: Array, reference: Array) -> Any:
        log_probs = token_log_probs(
            params,
            base,
            lora_scale,
            temperature,
            micro_batch,
            arch=arch,
            target_modules=target_modules,
            execution=execution,
        )
        old = jnp.where(first, jax.lax.stop_gradient(log_probs), old)
        loss, sums = policy_loss(
            log_probs,
            old,
            reference,
            micro_batch,
            beta,
            epsilon_low,
            epsilon_high,
            sequence_ratio=sequence_ratio,
        )
        return loss, (sums, log_probs)

    def accumulate(total: Any, index: Array) -> tuple[Any, None]:
        def compute() -> Any:
            loss, grads, sums, scores = total
            micro_batch = jax.tree.map(lambda x: x[index], rows)
            (part, (more, log_probs)), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
                params, micro_batch, old[index], reference[index]
            )
            return (
                loss + part,
                jax.tree.map(jnp.add, grads, gradient),
                jax.tree.map(jnp.add, sums, more),
                scores.at[index].set(log_probs),
            )

        return jax.lax.cond(index < used, compute, lambda: total), None

    zeros = (
        jnp.float32(0),
        jax.tree.map(jnp.zeros_like, params),
        {name: jnp.float32(0) for name in ("kl", "clip_fraction", "entropy")},
        jnp.zeros_like(reference),
    )
    (loss, grads, sums, scores), _ = jax.lax.scan(accumulate, zeros, jnp.arange(len(reference)))
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    updates, new_state = direction.update(grads, optimizer_state, params)
    new_params = jax.tree.map(lambda p, u: p - learning_rate * u, params, updates)
    params, optimizer_state = jax.tree.map(
        lambda new, kept: jnp.where(finite, new, kept),
        (new_params, new_state),
        (params, optimizer_state),
    )
    # Else XLA may shard them, and the next step would be another program.
    params, optimizer_state = everywhere((params, optimizer_state), execution.mesh)
    tokens = jnp.maximum(rows["mask"].sum(), 1).astype(jnp.float32)
    metrics = {name: value / tokens for name, value in sums.items()}
    metrics |= {"loss": loss, "grad_norm": grad_norm, "skipped": 1.0 - finite}
    return params, optimizer_state, scores, metrics


def _mean_of_completion(values: Array, rows: Rows) -> Array:
    """Each token's value replaced by the mean over its completion, [rows, length]."""
    segments, branches = rows["segment_ids"], rows["branch_ids"]
    same = (segments[:, :, None] == segments[:, None]) & (branches[:, :, None] == branches[:, None])
    same &= rows["mask"][:, None]
    return (same * values[:, None]).sum(axis=2) / jnp.maximum(same.sum(axis=2), 1)
