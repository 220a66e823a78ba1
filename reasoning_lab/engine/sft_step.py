"""One supervised update of the LoRA weights, as a pure jitted function."""

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

Batch = dict[str, Array]
"""tokens, positions, segment_ids int32 and loss_mask bool, each [rows, length] (data/packing.py);
`loss_mask` marks the tokens to be predicted."""


@functools.cache
def adamw_direction(
    b1: float, b2: float, weight_decay: float, max_grad_norm: float
) -> optax.GradientTransformation:
    """Clipped AdamW (arXiv 1711.05101) without the learning rate, which is an argument of the step.

    Cached, because jit tells transformations apart by identity: the runs of a sweep share one
    program.
    """
    return optax.chain(
        optax.clip_by_global_norm(max_grad_norm),
        optax.scale_by_adam(b1, b2),
        optax.add_decayed_weights(weight_decay),
    )


def summed_loss(
    params: Any,
    base: Base,
    lora_scale: Array | float,
    batch: Batch,
    *,
    arch: Architecture,
    target_modules: tuple[str, ...],
    execution: Execution = _PLAIN,
) -> Array:
    """Negative log-likelihood in nats, summed over the target tokens of one micro-batch."""
    hidden = hidden_states(
        arch,
        base,
        as_layers(params, target_modules),
        lora_scale,
        batch["tokens"],
        batch["positions"],
        batch["segment_ids"],
        execution=execution,
    )
    # The state at position t predicts token t + 1.
    targets = jnp.roll(batch["tokens"], -1, axis=1)
    mask = jnp.roll(batch["loss_mask"], -1, axis=1).at[:, -1].set(False)
    return -target_log_probs(arch, base, hidden, targets, mask, execution=execution).sum()


@functools.partial(
    jax.jit,
    static_argnames=("arch", "target_modules", "direction", "execution"),
    donate_argnames=("params", "optimizer_state"),
)
def train_step(
    params: Any,
    optimizer_state: Any,
    base: Base,
    batch: Batch,
    learning_rate: Array | float,
    lora_scale: Array | float,
    *,
    arch: Architecture,
    target_modules: tuple[str, ...],
    direction: optax.GradientTransformation,
    execution: Execution = _PLAIN,
) -> tuple[Any, Any, dict[str, Array]]:
    """Accumulate gradients over micro-batches and update once.

    Every target token of the step weighs the same, in whichever micro-batch it lies: sums are
    accumulated and divided once, where optax.MultiSteps would average micro-batch means.

    Args:
        params: LoRA weights; donated.
        batch: arrays with a leading micro-batch axis, [A, rows, length].

    Returns:
        New LoRA weights, new optimizer state, and float32 scalars: loss (nats per target token),
            grad_norm (before clipping), target_tokens.
    """
    loss_fn = functools.partial(
        summed_loss, arch=arch, target_modules=target_modules, execution=execution
    )

    def accumulate(total: tuple[Array, Any], micro_batch: Batch) -> tuple[tuple[Array, Any], None]:
        loss, grads = jax.value_and_grad(loss_fn)(params, base, lora_scale, micro_batch)
        return (total[0] + loss, jax.tree.map(jnp.add, total[1], grads)), None

    zeros = (jnp.float32(0), jax.tree.map(jnp.zeros_like, params))
    (loss, grads), _ = jax.lax.scan(accumulate, zeros, batch)
    tokens = jnp.maximum(batch["loss_mask"][..., 1:].sum(), 1).astype(jnp.float32)
    grads = jax.tree.map(lambda g: g / tokens, grads)
    updates, optimizer_state = direction.update(grads, optimizer_state, params)
    params = jax.tree.map(lambda p, u: p - learning_rate * u, params, updates)
    # Else XLA may shard them, and the next step would be another program.
    params, optimizer_state = everywhere((params, optimizer_state), execution.mesh)
    metrics = {
        "loss": loss / tokens,
        "grad_norm": optax.tree.norm(grads),
        "target_tokens": tokens,
    }
    return params, optimizer_state, metrics


@functools.partial(jax.jit, static_argnames=("arch", "target_modules", "execution"))
def evaluation_loss(
    params: Any,
    base: Base,
    batch: Batch,
    lora_scale: Array | float,
    *,
    arch: Architecture,
    target_modules: tuple[str, ...],
    execution: Execution = _PLAIN,
) -> tuple[Array, Array]:
    """Summed loss in nats, and the number of target tokens, of one batch [rows, length]."""
    loss = summed_loss(
        params,
        base,
        lora_scale,
        batch,
        arch=arch,
        target_modules=target_modules,
        execution=execution,
    )
    return loss, batch["loss_mask"][:, 1:].sum()
