"""One update: how micro-batches add up, and in which number formats."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import SMALL, random_lora, random_weights

from reasoning_lab.engine.sft_step import adamw_direction, evaluation_loss, train_step
from reasoning_lab.engine.specs import LoraSpec

ARCH = replace(SMALL, num_layers=1)
LORA = LoraSpec(rank=4, alpha=8.0, target_modules=("q_proj", "down_proj"))
LENGTH = 24
STATIC = {"arch": ARCH, "target_modules": LORA.target_modules}
MAX_GRAD_NORM = 0.25
DIRECTION = adamw_direction(0.9, 0.999, 0.0, MAX_GRAD_NORM)
LEARNING_RATE = 0.01


def two_rows() -> dict[str, np.ndarray[Any, Any]]:
    """Rows with 20 and with 3 target tokens."""
    shape = (2, LENGTH)
    mask = np.zeros(shape, bool)
    mask[0, 4:], mask[1, 10:13] = True, True
    return {
        "tokens": np.random.default_rng(0).integers(1, ARCH.vocab_size, shape, dtype=np.int32),
        "positions": np.broadcast_to(np.arange(LENGTH, dtype=np.int32), shape),
        "segment_ids": np.ones(shape, np.int32),
        "loss_mask": mask,
    }


def step(micro_batches: int, dtype: Any = jnp.float32) -> tuple[Any, Any, dict[str, Any]]:
    """New LoRA weights, new optimizer state and metrics after the step on both rows."""
    params = random_lora(ARCH, LORA)
    batch = {name: x.reshape(micro_batches, -1, LENGTH) for name, x in two_rows().items()}
    return train_step(
        params,
        DIRECTION.init(params),
        random_weights(ARCH, dtype=dtype),
        batch,
        LEARNING_RATE,
        2.0,
        **STATIC,
        direction=DIRECTION,
    )


@pytest.fixture(scope="module")
def whole() -> tuple[Any, Any, dict[str, Any]]:
    return step(1)


def test_micro_batches_with_uneven_targets_are_one_batch(
    whole: tuple[Any, Any, dict[str, Any]],
) -> None:
    params, (_, adam, _), metrics = step(2)
    expected_params, (_, expected_adam, _), expected_metrics = whole
    for name in ("loss", "grad_norm", "target_tokens"):
        np.testing.assert_allclose(metrics[name], expected_metrics[name], rtol=1e-6)
    assert metrics["target_tokens"] == 23

    def assert_close(tolerance: float) -> Any:
        return lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance)

    jax.tree.map(assert_close(1e-6), adam.mu, expected_adam.mu)  # a tenth of the gradient
    jax.tree.map(assert_close(LEARNING_RATE * 1e-2), params, expected_params)


def test_every_target_token_weighs_the_same(whole: tuple[Any, Any, dict[str, Any]]) -> None:
    rows = [
        evaluation_loss(
            random_lora(ARCH, LORA),
            random_weights(ARCH),
            {name: x[i : i + 1] for name, x in two_rows().items()},
            2.0,
            **STATIC,
        )
        for i in range(2)
    ]
    losses, counts = zip(*((float(loss), int(count)) for loss, count in rows), strict=True)
    assert counts == (20, 3)
    np.testing.assert_allclose(whole[2]["loss"], sum(losses) / 23, rtol=1e-5)
    mean_of_means = (losses[0] / 20 + losses[1] / 3) / 2
    assert abs(mean_of_means - sum(losses) / 23) > 0.01  # so this test could fail


def test_gradients_are_clipped_before_adam(whole: tuple[Any, Any, dict[str, Any]]) -> None:
    _, (_, adam, _), metrics = whole
    assert metrics["grad_norm"] > 2 * MAX_GRAD_NORM
    clipped = jax.tree.leaves(jax.tree.map(lambda x: np.square(x / 0.1).sum(), adam.mu))
    np.testing.assert_allclose(math.sqrt(sum(clipped)), MAX_GRAD_NORM, rtol=1e-5)


def test_lora_and_adam_stay_in_float32_over_a_bfloat16_base(
    whole: tuple[Any, Any, dict[str, Any]],
) -> None:
    params, (_, adam, _), metrics = step(1, jnp.bfloat16)
    assert {x.dtype for x in jax.tree.leaves((params, adam.mu, adam.nu))} == {jnp.float32.dtype}
    np.testing.assert_allclose(metrics["loss"], whole[2]["loss"], rtol=0.01)
    np.testing.assert_allclose(metrics["grad_norm"], whole[2]["grad_norm"], rtol=0.05)
