"""Matrix products in a traced program are counted as often as they run."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.engine.programs import Setting, SFTStep
from reasoning_lab.preflight.jaxpr_flops import matmul_flops
from reasoning_lab.preflight.memory import mesh_without_devices

A = jax.ShapeDtypeStruct((4, 6), jnp.float32)
SQUARE = jax.ShapeDtypeStruct((6, 6), jnp.float32)
PRODUCT = 2 * 4 * 6 * 6  # of A and SQUARE


def flops(function: Any, *arguments: Any, loop_trips: int = 1) -> float:
    return matmul_flops(jax.make_jaxpr(function)(*arguments).jaxpr, loop_trips)


def test_a_product_is_two_operations_a_multiplication() -> None:
    assert flops(jnp.dot, A, SQUARE) == PRODUCT


def test_a_batched_product_counts_each_of_the_batch() -> None:
    x = jax.ShapeDtypeStruct((3, 4, 6), jnp.float32)
    assert flops(lambda x, y: jnp.einsum("bij,bkj->bik", x, y), x, x) == 3 * 2 * 4 * 6 * 4


def test_a_convolution() -> None:
    image = jax.ShapeDtypeStruct((1, 3, 8, 8), jnp.float32)
    kernel = jax.ShapeDtypeStruct((5, 3, 2, 2), jnp.float32)
    made = flops(lambda x, k: jax.lax.conv(x, k, (1, 1), "VALID"), image, kernel)
    assert made == 2 * (5 * 7 * 7) * (3 * 2 * 2)


def test_a_scan_counts_its_length() -> None:
    def run(x: Any, w: Any) -> Any:
        return jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=7)[0]

    assert flops(run, A, SQUARE) == 7 * PRODUCT


def test_a_while_counts_as_often_as_one_says_also_inside_a_scan() -> None:
    def run(x: Any, w: Any) -> Any:
        def body(c: Any, _: None) -> Any:
            return jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: c @ w, c), None

        return jax.lax.scan(body, x, None, length=2)[0]

    assert flops(run, A, SQUARE, loop_trips=5) == 2 * 5 * PRODUCT


def test_of_branches_the_most_expensive_counts() -> None:
    def run(yes: Any, x: Any, w: Any) -> Any:
        return jax.lax.cond(yes, lambda: x @ w, lambda: x @ w @ w)

    yes = jax.ShapeDtypeStruct((), jnp.bool_)
    assert flops(run, yes, A, SQUARE) == 2 * PRODUCT


def test_calls_are_looked_into_once() -> None:
    @jax.custom_vjp
    def custom(x: Any, w: Any) -> Any:
        return x @ w

    custom.defvjp(lambda x, w: (x @ w, None), lambda _, g: (g, g))
    inside = jax.jit(jax.checkpoint(lambda x, w: custom(x, w)))
    assert flops(inside, A, SQUARE) == PRODUCT


def test_recomputing_counts_again() -> None:
    def loss(w: Any, x: Any) -> Any:
        return jnp.sin(jax.checkpoint(lambda x: jnp.sin(x @ w) @ w)(x)).sum()

    plain = flops(jax.grad(lambda w, x: jnp.sin(jnp.sin(x @ w) @ w).sum()), SQUARE, A)
    assert flops(jax.grad(loss), SQUARE, A) == plain + PRODUCT


def test_it_agrees_with_xla_where_nothing_loops() -> None:
    def run(x: Any, w: Any) -> Any:
        return x @ w @ w @ w

    compiled = jax.jit(run).lower(A, SQUARE).compile()
    analysis = compiled.cost_analysis()
    assert analysis is not None
    assert flops(run, A, SQUARE) == pytest.approx(analysis["flops"], rel=0.01)


def test_eight_chips_compute_what_one_does() -> None:
    """No gradients of frozen weights, say, because something ties them to activations."""
    program = SFTStep(
        setting=Setting(
            arch=ARCHITECTURES["gemma3_tiny"],
            param_dtype="bfloat16",
            lora_rank=4,
            target_modules=("q_proj", "down_proj"),
            remat=True,
            logit_tokens=8,
        ),
        rows=8,
        length=32,
    )
    one, eight = (
        matmul_flops(program.call(mesh_without_devices(chips, 1)).trace().jaxpr.jaxpr, 1)
        for chips in (1, 8)
    )
    assert eight == one
