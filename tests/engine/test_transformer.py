"""The pure decoder and its LoRA against Tunix's own models, which were written by others."""

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from tiny_models import (
    ALL_LINEAR,
    GEMMA1,
    GEMMA2,
    GEMMA3,
    new_tunix_model,
    random_lora,
    random_weights,
    set_base,
    set_lora,
    tunix_forward,
    tunix_logits,
    unpacked,
    with_qwix_lora,
)

from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.lora import LoraModel, Params, as_layers, init_params
from reasoning_lab.engine.transformer import hidden_states, logits

T = 24  # longer than every sliding window here
_GEMMAS = {"gemma1": GEMMA1, "gemma2": GEMMA2, "gemma3": GEMMA3}


@dataclass(frozen=True)
class Twins:
    """The same weights as our arrays and in Tunix's model with qwix's LoRA on everything."""

    arch: Architecture
    base: dict[str, Any]
    theirs: nnx.Module
    tokens: np.ndarray[Any, Any]

    def our_logits(self, lora: Params) -> np.ndarray[Any, Any]:
        ours = _forward(self.arch, self.base, lora, self.tokens)
        return np.asarray(ours).T.reshape(*self.tokens.shape, self.arch.vocab_size)

    def their_logits(self, lora: Params) -> np.ndarray[Any, Any]:
        set_lora(self.theirs, lora)
        return tunix_logits(self.theirs, self.tokens)


@functools.partial(jax.jit, static_argnums=0)
def _forward(arch: Architecture, base: Any, lora: Any, tokens: jax.Array) -> jax.Array:
    layers = as_layers(lora, ALL_LINEAR.target_modules)
    scale = ALL_LINEAR.alpha / ALL_LINEAR.rank
    hidden = hidden_states(arch, base, layers, scale, *unpacked(tokens))
    return logits(arch, base, hidden.reshape(-1, arch.embed_dim))


@pytest.fixture(scope="module", params=_GEMMAS.values(), ids=_GEMMAS.keys())
def twins(request: pytest.FixtureRequest) -> Twins:
    arch: Architecture = request.param
    base = random_weights(arch)
    theirs = nnx.eval_shape(lambda: with_qwix_lora(new_tunix_model(arch), ALL_LINEAR))
    set_base(theirs, arch, base)
    tokens = np.random.default_rng(1).integers(0, arch.vocab_size, (2, T), dtype=np.int32)
    return Twins(arch, base, theirs, tokens)


def lora_shapes(model: nnx.Module) -> dict[tuple[Any, ...], tuple[int, ...]]:
    state = nnx.state(model, nnx.LoRAParam)
    return {path: variable.shape for path, variable in nnx.to_flat_state(state)}


def test_lora_is_stored_where_qwix_stores_it(twins: Twins) -> None:
    """Who loads our checkpoints into Tunix's model finds every weight there."""
    ours = LoraModel(init_params(twins.arch, ALL_LINEAR, seed=0))
    assert lora_shapes(ours) == lora_shapes(twins.theirs)


def test_lora_begins_as_in_qwix() -> None:
    """B is zero and A uniform between the same bounds."""
    arch = replace(GEMMA1, num_layers=1)
    theirs = nnx.jit(lambda: with_qwix_lora(new_tunix_model(arch), ALL_LINEAR))()
    theirs = dict(nnx.to_flat_state(nnx.state(theirs, nnx.LoRAParam)))
    ours = nnx.state(LoraModel(init_params(arch, ALL_LINEAR, seed=0)), nnx.LoRAParam)
    for path, variable in nnx.to_flat_state(ours):
        a, b = np.asarray(variable[...]), np.asarray(theirs[path][...])
        assert a.any() == b.any() == path[-1].endswith("_lora_a")
        np.testing.assert_allclose(abs(a).max(), abs(b).max(), rtol=0.1)
        np.testing.assert_allclose(a.std(), b.std(), rtol=0.2)


def test_logits_are_those_of_tunix_model(twins: Twins) -> None:
    fresh = init_params(twins.arch, ALL_LINEAR, seed=0)  # changes nothing
    np.testing.assert_allclose(
        twins.our_logits(fresh), twins.their_logits(fresh), rtol=1e-4, atol=1e-4
    )


def test_gradient_of_lora_is_that_of_tunix_model_with_qwix() -> None:
    """Ours is partly written by hand."""
    arch = replace(GEMMA1, num_layers=1)
    base, lora = random_weights(arch), random_lora(arch, ALL_LINEAR)
    theirs = nnx.eval_shape(lambda: with_qwix_lora(new_tunix_model(arch), ALL_LINEAR))
    set_base(theirs, arch, base)
    set_lora(theirs, lora)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, arch.vocab_size, (2, T), dtype=np.int32)
    weights = rng.normal(0, 1, (2, T, arch.vocab_size)).astype(np.float32)

    @jax.jit
    @jax.grad
    def our_gradient(lora: Any) -> jax.Array:
        ours = _forward(arch, base, lora, tokens).T.reshape(weights.shape)
        return (ours * weights).sum()

    @nnx.jit
    def their_gradient(model: nnx.Module) -> Any:
        def loss(model: nnx.Module) -> jax.Array:
            return (tunix_forward(model, tokens) * weights).sum()

        return nnx.grad(loss, argnums=nnx.DiffState(0, nnx.LoRAParam))(model)

    ours = nnx.to_flat_state(nnx.state(LoraModel(our_gradient(lora)), nnx.LoRAParam))
    expected = dict(nnx.to_flat_state(their_gradient(theirs)))
    assert len(ours) == len(expected) == 12
    for path, variable in ours:
        np.testing.assert_allclose(
            variable[...], expected[path][...], rtol=1e-3, atol=1e-3, err_msg=str(path)
        )


def test_logits_with_lora_are_those_of_tunix_model_with_qwix(twins: Twins) -> None:
    lora = random_lora(twins.arch, ALL_LINEAR)
    ours = twins.our_logits(lora)
    np.testing.assert_allclose(ours, twins.their_logits(lora), rtol=1e-4, atol=1e-4)
    without = twins.our_logits(init_params(twins.arch, ALL_LINEAR, seed=0))
    assert abs(ours - without).max() > 0.1
