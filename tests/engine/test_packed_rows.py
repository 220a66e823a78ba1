"""Packing is invisible to the model: an example costs and teaches the same wherever it lies."""

import functools
from typing import Any

import jax
import numpy as np
import pytest
from tiny_models import ALL_LINEAR, SMALL, random_lora, random_weights

from reasoning_lab.data.packing import PackedRows, TokenizedExample
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.sft_step import summed_loss

LENGTH = 48  # examples are longer than the sliding window of 16
ROWS = 4
_RNG = np.random.default_rng(0)
EXAMPLES = [
    TokenizedExample(_RNG.integers(1, SMALL.vocab_size, n).tolist(), n // 3, f"{n} tokens")
    for n in (29, 19, 40, 7)
]

Arrays = dict[str, np.ndarray[Any, Any]]


def in_rows(*, packing: bool) -> Arrays:
    """All examples, in as few rows as possible or one in each, and empty rows up to four."""
    rows = PackedRows(EXAMPLES, max_length=LENGTH, rows_per_batch=1, seed=0, packing=packing)
    batches: list[Arrays] = [rows.batch(step) for step in range(len(rows.rows))]
    assert len(batches) == (2 if packing else ROWS)
    batches += [{name: np.zeros_like(x) for name, x in batches[0].items()}] * (ROWS - len(batches))
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


@pytest.fixture(scope="module")
def weights() -> tuple[Any, Any]:
    return random_lora(SMALL, ALL_LINEAR), random_weights(SMALL)


@functools.cache
def _program(remat: bool) -> Any:
    loss = functools.partial(
        summed_loss,
        arch=SMALL,
        target_modules=ALL_LINEAR.target_modules,
        execution=Execution(remat=remat),
    )
    return jax.jit(jax.value_and_grad(loss))


def loss_and_gradient(
    weights: tuple[Any, Any], batch: Arrays, *, remat: bool = False
) -> tuple[float, Any]:
    loss, gradient = _program(remat)(*weights, 2.0, batch)
    return float(loss), gradient


def assert_equal(a: tuple[float, Any], b: tuple[float, Any]) -> None:
    np.testing.assert_allclose(a[0], b[0], rtol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=2e-4), a[1], b[1])


def test_packed_examples_cost_and_teach_what_they_do_alone(weights: tuple[Any, Any]) -> None:
    packed = loss_and_gradient(weights, in_rows(packing=True))
    alone = loss_and_gradient(weights, in_rows(packing=False))
    assert_equal(packed, alone)
    assert max(abs(x).max() for x in jax.tree.leaves(alone[1])) > 0.1


def test_what_lies_in_the_padding_never_matters(weights: tuple[Any, Any]) -> None:
    batch = in_rows(packing=False)
    expected = loss_and_gradient(weights, batch)
    padding = batch["segment_ids"] == 0
    rng = np.random.default_rng(1)
    for name, top in (("tokens", SMALL.vocab_size), ("positions", LENGTH)):
        batch[name][padding] = rng.integers(0, top, padding.sum())
    assert_equal(loss_and_gradient(weights, batch), expected)


def test_remat_changes_nothing(weights: tuple[Any, Any]) -> None:
    batch = in_rows(packing=True)
    kept = loss_and_gradient(weights, batch)
    assert_equal(loss_and_gradient(weights, batch, remat=True), kept)
