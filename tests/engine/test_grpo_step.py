"""The step of GRPO against the same written plainly: no packing, no branches, Tunix's model."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from tiny_models import (
    ALL_LINEAR,
    SMALL,
    new_tunix_model,
    random_lora,
    random_weights,
    set_base,
    set_lora,
    with_qwix_lora,
)
from tunix.rl.common import compute_kl_divergence

from reasoning_lab.engine.grpo_batch import Group, Rows, RowShape, loss_weights, pack_groups
from reasoning_lab.engine.grpo_step import (
    log_probs_of_rows,
    policy_loss,
    token_log_probs,
    train_step,
)
from reasoning_lab.engine.lora import LoraModel, Params

# New models of Tunix begin with six layers of which five are local: with two layers both are.
ARCH = replace(SMALL, vocab_size=96, attention_pattern=("local", "local"))
MODULES = ALL_LINEAR.target_modules
SCALE = 2.0
LENGTH = 48
SHAPE = RowShape(micro_batches=2, rows=2, length=LENGTH)
COPIES = 3
LONGEST = 12  # tokens of a completion
PADDED = 40  # the reference has a sequence in each row, behind it zeros

Floats = np.ndarray[Any, Any]
_RNG = np.random.default_rng(0)


def _tokens(low: int, high: int) -> list[int]:
    return _RNG.integers(1, ARCH.vocab_size, _RNG.integers(low, high)).tolist()


# Prompts up to longer than the sliding window of 16.
GROUPS: list[Group] = [
    (_tokens(*size), [_tokens(1, LONGEST + 1) for _ in range(COPIES)])
    for size in ((20, 26), (3, 4), (12, 18), (17, 22))
]
SEQUENCES = [(prompt, tokens) for prompt, all_of in GROUPS for tokens in all_of]
N = len(SEQUENCES)
ADVANTAGES = _RNG.normal(0, 1, N)

# Adam, behind what keeps the gradient of the last step.
DIRECTION = optax.chain(optax.trace(decay=0.0), optax.scale_by_adam())


@functools.cache
def base() -> dict[str, Any]:
    return random_weights(ARCH)


@functools.cache
def lora(seed: int = 0) -> Params:
    return random_lora(ARCH, ALL_LINEAR, seed)


def ragged(rows: Rows, array: Any) -> list[Floats]:
    """An array of rows as one array a completion."""
    flat = np.asarray(array).reshape(-1, np.shape(array)[-1])
    return [flat[row, start:end] for row, start, end in rows.places]


@functools.cache
def packed(shape: RowShape = SHAPE) -> Rows:
    return pack_groups(GROUPS, shape)


# The reference: Tunix's model, one sequence after another.


@functools.cache
def _program() -> Any:
    """A jitted function (temperature, cotangents) of the model of Tunix with our weights, giving
    log-probabilities, and the gradient with respect to LoRA of them times the cotangents."""
    model = nnx.eval_shape(lambda: with_qwix_lora(new_tunix_model(ARCH), ALL_LINEAR))
    set_base(model, ARCH, base())
    set_lora(model, lora())
    graph, lora_state, rest = nnx.split(model, nnx.LoRAParam, ...)

    @jax.jit
    def run(state: Any, rest: Any, temperature: Any, cotangents: list[jax.Array]) -> Any:
        def scores(state: Any) -> list[jax.Array]:
            return _scores(nnx.merge(graph, state, rest), temperature)

        found, pull = jax.vjp(scores, state)
        return found, pull(cotangents)[0]

    return functools.partial(run, lora_state, rest)


def _scores(model: Any, temperature: Any) -> list[jax.Array]:
    """log p of each completion's tokens, by a softmax over all of the vocabulary."""
    tokens = np.zeros((N, PADDED), np.int32)
    for row, (prompt, completion) in enumerate(SEQUENCES):
        tokens[row, : len(prompt) + len(completion)] = [*prompt, *completion]
    positions = jnp.broadcast_to(jnp.arange(PADDED), tokens.shape)
    causal = jnp.broadcast_to(jnp.tril(jnp.ones((PADDED, PADDED), bool)), (N, PADDED, PADDED))
    logits = model(jnp.asarray(tokens), positions, None, causal)[0]
    scores = jax.nn.log_softmax(logits / temperature, axis=-1)
    found = []
    for row, (prompt, completion) in enumerate(SEQUENCES):
        places = np.arange(len(completion)) + len(prompt) - 1
        found.append(scores[row, places, np.array(completion)])
    return found


@functools.cache
def reference_log_probs(temperature: float) -> list[Floats]:
    nothing = [jnp.zeros(len(completion)) for _, completion in SEQUENCES]
    scores, _ = _program()(temperature, nothing)
    return [np.asarray(x) for x in scores]


@dataclass(frozen=True, kw_only=True)
class Setting:
    off_policy: float = 0.0  # how far old log-probabilities lie from the new
    beta: float = 0.0
    temperature: float = 1.0
    low: float = 0.2
    high: float = 0.28
    aggregation: str = "sequence_mean"
    sequence_ratio: bool = False

    def old(self) -> list[Floats]:
        rng = np.random.default_rng(1)
        new = reference_log_probs(self.temperature)
        return [np.asarray(x) + self.off_policy * rng.normal(0, 1, x.shape) for x in new]

    def reference(self) -> list[Floats]:
        rng = np.random.default_rng(2)
        new = reference_log_probs(self.temperature)
        return [np.asarray(x) + 0.5 * rng.normal(0, 1, x.shape) for x in new]

    def plain_loss(
        self, new: Sequence[jax.Array], old: Sequence[Floats], reference: Sequence[Floats]
    ) -> jax.Array:
        """Equation by equation, one completion after another."""
        total = jnp.float32(0)
        all_tokens = sum(len(x) for x in new)
        for i, A in enumerate(ADVANTAGES):
            log_ratio = new[i] - old[i]
            if self.sequence_ratio:
                log_ratio = jnp.full(len(new[i]), log_ratio.mean())
            ratio = jnp.exp(log_ratio)
            surrogate = jnp.minimum(ratio * A, jnp.clip(ratio, 1 - self.low, 1 + self.high) * A)
            r = jnp.exp(reference[i] - new[i])
            of_tokens = -(surrogate - self.beta * (r - jnp.log(r) - 1))
            if self.aggregation == "sequence_mean":
                total += of_tokens.mean() / N
            elif self.aggregation == "token_mean":
                total += of_tokens.sum() / all_tokens
            else:
                total += of_tokens.sum() / (N * LONGEST)
        return total


def reference_gradient(setting: Setting) -> tuple[float, Any]:
    new, old, ref = reference_log_probs(setting.temperature), setting.old(), setting.reference()
    loss, cotangents = jax.jit(jax.value_and_grad(setting.plain_loss))(new, old, ref)
    return float(loss), _program()(setting.temperature, cotangents)[1]


# Ours.


def inputs(
    setting: Setting = Setting(),
    shape: RowShape = SHAPE,
    advantages: Floats = ADVANTAGES,
) -> tuple[dict[str, Any], int, Any, Any]:
    """rows, used, old and reference, as `train_step` takes them."""
    rows = packed(shape)
    lengths = np.array([len(tokens) for _, tokens in SEQUENCES])
    weights = loss_weights(lengths, setting.aggregation, LONGEST)
    arrays = {
        **rows.arrays,
        "advantages": rows.spread(advantages),
        "weights": rows.spread(weights),
    }
    old, reference = (
        rows.spread_tokens([x.tolist() for x in values])
        for values in (setting.old(), setting.reference())
    )
    return arrays, rows.used, old, reference


def step(
    setting: Setting,
    rows: dict[str, Any],
    used: int,
    old: Any,
    reference: Any,
    *,
    first: bool = False,
    params: Params | None = None,
    state: Any = None,
) -> tuple[Params, Any, Floats, dict[str, float]]:
    params = jax.tree.map(jnp.copy, params or lora())
    state = DIRECTION.init(params) if state is None else jax.tree.map(jnp.copy, state)
    params, state, scores, metrics = train_step(
        params,
        state,
        base(),
        rows,
        np.int32(used),
        old,
        np.bool_(first),
        reference,
        np.float32(0.01),
        np.float32(setting.beta),
        np.float32(setting.low),
        np.float32(setting.high),
        np.float32(setting.temperature),
        np.float32(SCALE),
        arch=ARCH,
        target_modules=MODULES,
        direction=DIRECTION,
        sequence_ratio=setting.sequence_ratio,
    )
    return params, state, np.asarray(scores), {k: float(v) for k, v in metrics.items()}


def flattened(gradient: Any) -> Floats:
    """Of our nested parameters or of Tunix's state, in one order of paths."""
    if not isinstance(gradient, nnx.State):
        gradient = nnx.state(LoraModel(gradient), nnx.LoRAParam)
    named = {
        ".".join(map(str, path)): np.asarray(variable[...]).ravel()
        for path, variable in nnx.to_flat_state(gradient)
    }
    return np.concatenate([named[name] for name in sorted(named)])


def distance(ours: Floats, expected: Floats) -> float:
    """Relative."""
    assert ours.shape == expected.shape
    return float(np.linalg.norm(ours - expected) / np.linalg.norm(expected))


def alone_in_rows() -> Rows:
    singles: list[Group] = [(prompt, [completion]) for prompt, completion in SEQUENCES]
    return pack_groups(singles, RowShape(micro_batches=N, rows=1, length=PADDED))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_behind_a_shared_prompt_are_those_of_each_sequence_alone(
    temperature: float,
) -> None:
    together, alone = packed(), alone_in_rows()
    assert together.used * SHAPE.rows < alone.used
    scores = [
        ragged(
            rows,
            log_probs_of_rows(
                lora(),
                base(),
                rows.arrays,
                rows.used,
                SCALE,
                temperature,
                arch=ARCH,
                target_modules=MODULES,
            ),
        )
        for rows in (together, alone)
    ]
    for shared, single, expected in zip(*scores, reference_log_probs(temperature), strict=True):
        np.testing.assert_allclose(shared, single, atol=1e-5)
        np.testing.assert_allclose(shared, expected, atol=1e-4)


SETTINGS = {
    "on-policy": Setting(),
    "beta": Setting(beta=0.3),
    "clipped": Setting(off_policy=0.3),
    "clipped-beta-cold": Setting(off_policy=0.3, beta=0.3, temperature=0.7),
    "hot": Setting(temperature=1.6),
    "token-mean": Setting(off_policy=0.3, aggregation="token_mean"),
    "constant": Setting(off_policy=0.3, beta=0.1, aggregation="constant"),
    "sequence-ratio": Setting(
        off_policy=0.3, beta=0.1, sequence_ratio=True, low=0.04, high=0.05, temperature=0.8
    ),
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_the_gradient_is_that_of_the_plain_equations(setting: Setting) -> None:
    first = not setting.off_policy
    rows, used, old, reference = inputs(setting)
    old = np.full_like(old, np.nan) if first else old  # not read then
    _, kept, scores, metrics = step(setting, rows, used, old, reference, first=first)
    expected_loss, expected = reference_gradient(setting)
    assert distance(flattened(kept[0].trace), flattened(expected)) < 1e-4
    assert metrics["loss"] == pytest.approx(expected_loss, rel=1e-4, abs=1e-5)
    assert metrics["grad_norm"] == pytest.approx(np.linalg.norm(flattened(expected)), rel=1e-4)
    assert metrics["skipped"] == 0
    assert (metrics["clip_fraction"] > 0) == (setting.off_policy > 0)
    assert metrics["clip_fraction"] < 0.9
    for ours, theirs in zip(
        ragged(packed(), scores), reference_log_probs(setting.temperature), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_metrics_are_means_over_the_tokens() -> None:
    setting = SETTINGS["clipped-beta-cold"]
    _, _, _, metrics = step(setting, *inputs(setting))
    new = np.concatenate(reference_log_probs(setting.temperature))
    old, reference = np.concatenate(setting.old()), np.concatenate(setting.reference())
    A = np.repeat(ADVANTAGES, [len(tokens) for _, tokens in SEQUENCES])
    ratio = np.exp(new - old)
    clipped = np.where(A > 0, ratio > 1 + setting.high, ratio < 1 - setting.low)
    r = np.exp(reference - new)
    assert metrics["clip_fraction"] == pytest.approx(clipped.mean())
    assert metrics["kl"] == pytest.approx((r - 1 - np.log(r)).mean(), rel=1e-3)
    assert metrics["entropy"] == pytest.approx(-new.mean(), rel=1e-4)


def test_neither_the_split_into_micro_batches_nor_what_lies_in_unused_ones_matters() -> None:
    setting = SETTINGS["clipped-beta-cold"]
    _, kept, _, metrics = step(setting, *inputs(setting))
    rows, used, old, reference = inputs(setting, RowShape(8, 1, LENGTH))
    assert packed().used == SHAPE.micro_batches  # nothing unused there
    assert SHAPE.micro_batches < used < 8
    for array in (rows["advantages"], old, reference):
        array[used:] = np.nan
    _, other, scores, other_metrics = step(setting, rows, used, old, reference)
    assert distance(flattened(other[0].trace), flattened(kept[0].trace)) < 1e-5
    for name, value in metrics.items():
        assert other_metrics[name] == pytest.approx(value, rel=1e-4), name
    assert not scores[used:].any()


def test_an_update_that_is_not_finite_is_not_made() -> None:
    """Neither by one NaN among the advantages, nor are Adam's moments and count touched."""
    setting = Setting()
    good = inputs(setting)
    params, state, _, metrics = step(setting, *good)
    assert metrics["skipped"] == 0
    assert int(state[1].count) == 1
    assert abs(flattened(params) - flattened(lora())).max() > 1e-3

    bad = inputs(setting, advantages=np.where(np.arange(N) == 4, np.nan, ADVANTAGES))
    params, after, _, metrics = step(setting, *bad, state=state)
    assert metrics["skipped"] == 1
    np.testing.assert_array_equal(flattened(params), flattened(lora()))
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_a_dead_step_moves_nothing() -> None:
    rows = inputs(advantages=np.zeros(N))
    params, _, _, metrics = step(Setting(), *rows, first=True)
    assert metrics["grad_norm"] == metrics["skipped"] == 0
    np.testing.assert_array_equal(flattened(params), flattened(lora()))


def test_two_policies_at_once_are_two_one_at_a_time() -> None:
    """The functions of one micro-batch, vmapped over LoRA weights."""
    setting = SETTINGS["clipped-beta-cold"]
    all_rows, _, all_old, all_reference = inputs(setting)
    rows, old, reference = (
        jax.tree.map(lambda x: jnp.asarray(x[0]), x) for x in (all_rows, all_old, all_reference)
    )

    def loss(params: Params) -> tuple[jax.Array, jax.Array]:
        log_probs = token_log_probs(
            params,
            base(),
            SCALE,
            setting.temperature,
            rows,
            arch=ARCH,
            target_modules=MODULES,
        )
        total, _ = policy_loss(
            log_probs,
            old,
            reference,
            rows,
            setting.beta,
            setting.low,
            setting.high,
            sequence_ratio=False,
        )
        return total, log_probs

    both = jax.tree.map(lambda *x: jnp.stack(x), lora(0), lora(1))
    (losses, log_probs), gradients = jax.jit(jax.vmap(jax.value_and_grad(loss, has_aux=True)))(both)
    assert abs(losses[0] - losses[1]) > 1e-3
    for i in range(2):
        _, kept, scores, metrics = step(
            setting, all_rows, 1, all_old, all_reference, params=lora(i)
        )
        np.testing.assert_allclose(losses[i], metrics["loss"], rtol=1e-5)
        np.testing.assert_allclose(log_probs[i], scores[0], atol=1e-5)
        ours = flattened(jax.tree.map(lambda x, i=i: x[i], gradients))
        assert distance(ours, flattened(kept[0].trace)) < 1e-5


# KL, by adding up over all tokens of a vocabulary of 6 what one sampled token would give.

V = 6
THETA, OTHER = (jnp.asarray(np.random.default_rng(i).normal(0, 1, V), jnp.float32) for i in (3, 4))


def expected_gradient(estimate: Any, theta: jax.Array, other: jax.Array) -> Floats:
    """Mean gradient of estimate(log p, log q) over samples of p, which do not depend on theta."""
    chances = jax.nn.softmax(theta)

    def mean(theta: jax.Array) -> jax.Array:
        values = estimate(jax.nn.log_softmax(theta), jax.nn.log_softmax(other), chances)
        return values.sum()

    return np.asarray(jax.grad(mean)(theta))


def our_kl(log_p: jax.Array, log_q: jax.Array, chances: jax.Array) -> jax.Array:
    """policy_loss at beta 1 without advantages: each token a completion of weight p."""
    rows = {
        "mask": jnp.ones((1, V), bool),
        "advantages": jnp.zeros((1, V)),
        "weights": chances[None],
        "segment_ids": jnp.arange(1, V + 1)[None],
        "branch_ids": jnp.ones((1, V), jnp.int32),
    }
    loss, _ = policy_loss(
        log_p[None],
        jax.lax.stop_gradient(log_p)[None],
        log_q[None],
        rows,
        1.0,
        0.2,
        0.2,
        sequence_ratio=False,
    )
    return loss


def kl_of(first: jax.Array, second: jax.Array) -> jax.Array:
    """KL(softmax(first) || softmax(second))."""
    log_p, log_q = jax.nn.log_softmax(first), jax.nn.log_softmax(second)
    return (jnp.exp(log_p) * (log_p - log_q)).sum()


def test_the_gradient_of_tunix_kl_is_zero_on_average() -> None:
    """Its GRPO's default is "kl": in a loss it pulls nowhere and only adds noise."""

    def theirs(log_p: jax.Array, log_q: jax.Array, chances: jax.Array) -> jax.Array:
        return chances * compute_kl_divergence(log_p, log_q, method="kl")

    np.testing.assert_allclose(expected_gradient(theirs, THETA, OTHER), 0, atol=1e-6)
    assert abs(np.asarray(jax.grad(kl_of)(THETA, OTHER))).max() > 0.1


def test_the_gradient_of_our_kl_is_on_average_that_of_the_kl_from_the_reference() -> None:
    """As a loss over samples of the policy, k3 gives the gradient of KL(reference || policy)."""
    ours = expected_gradient(our_kl, THETA, OTHER)
    exact = jax.grad(kl_of, argnums=1)(OTHER, THETA)
    np.testing.assert_allclose(ours, exact, atol=1e-6)
    assert abs(ours).max() > 0.1


def test_near_the_reference_our_kl_pulls_like_either_kl() -> None:
    near = THETA + 0.01 * OTHER
    ours = expected_gradient(our_kl, THETA, near)
    assert distance(ours, np.asarray(jax.grad(kl_of)(THETA, near))) < 0.03
    assert np.linalg.norm(ours) > 1e-4


def test_the_value_of_our_kl_is_on_average_the_kl_to_the_reference() -> None:
    log_p, log_q = jax.nn.log_softmax(THETA), jax.nn.log_softmax(OTHER)
    value = our_kl(log_p, log_q, jnp.exp(log_p))
    np.testing.assert_allclose(value, kl_of(THETA, OTHER), rtol=1e-5)
