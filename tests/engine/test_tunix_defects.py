"""What is wrong in the Tunix, qwix and JAX that we pin, and worked round in the engine.

Each test shows a defect as it is today. One that fails after an upgrade says that the defect is
mended, and that the workaround it names may go.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from tiny_models import ALL_LINEAR, GEMMA1, GEMMA3, new_tunix_model, with_qwix_lora
from tunix.models.gemma import params_safetensors
from tunix.sft.metrics_logger import MetricsLoggerOptions
from tunix.sft.peft_trainer import PeftTrainer, TrainingConfig, TrainingInput, _default_loss_fn

pytestmark = pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated")  # by PeftTrainer


class Slope(nnx.Module):
    """y = w x, the smallest model that a PeftTrainer trains."""

    def __init__(self) -> None:
        self.w = nnx.Param(jnp.float32(0))


class Stock(PeftTrainer):
    def custom_checkpoint_metadata(self) -> dict[str, Any]:
        return {"cursor": self.train_steps}


class Listener:
    def __init__(self) -> None:
        self.events: list[str] = []

    def log_scalar(self, event: str, value: Any, **kwargs: Any) -> None:
        self.events.append(event)

    def close(self) -> None: ...


def stock(folder: Path, listener: Listener | None = None, **options: Any) -> PeftTrainer:
    config = TrainingConfig(
        eval_every_n_steps=100,
        checkpoint_root_directory=str(folder),
        checkpointing_options=ocp.CheckpointManagerOptions(save_interval_steps=2),
        metrics_logging_options=MetricsLoggerOptions(
            log_dir=str(folder), backend_kwargs={"custom_backend": [lambda: listener or Listener()]}
        ),
        metrics_prefix="stock",
        **options,
    )
    trainer = Stock(Slope(), optax.sgd(0.1), config)

    def loss(model: Slope, x: jax.Array, mask: jax.Array) -> jax.Array:
        return (jnp.square(model.w[...] - x) * mask).sum() / mask.sum()

    return trainer.with_loss_fn(loss)


def batches(count: int, pulled: list[int] | None = None) -> Iterator[dict[str, Any]]:
    for number in range(count):
        if pulled is not None:
            pulled.append(number)
        yield {"x": np.full(4, number, np.float32), "mask": np.ones(4, np.float32)}


def test_the_last_checkpoint_drops_custom_metadata(tmp_path: Path) -> None:
    """So nothing but the step is kept in Tunix's metadata, and batches are a function of it."""
    stock(tmp_path).train(batches(3))
    manager = stock(tmp_path).checkpoint_manager
    kept = {step: manager._checkpoint_manager.metadata(step).custom_metadata for step in (2, 3)}
    assert kept == {2: {"cursor": 2}, 3: {}}


def test_resuming_pulls_and_discards_the_data_of_finished_steps(tmp_path: Path) -> None:
    """github.com/google/tunix issue 2290; SFTTrainer has `data_hooks` instead."""
    stock(tmp_path).train(batches(3))
    pulled: list[int] = []
    resumed = stock(tmp_path)
    resumed.train(batches(4, pulled))
    assert resumed.train_steps == 4
    assert pulled == [0, 1, 2, 3]


def test_accumulated_micro_batches_weigh_the_same_whatever_they_hold(tmp_path: Path) -> None:
    """So `train_step` adds up sums over micro-batches, and divides once by the token count."""
    full = {"x": np.full(4, 1.0, np.float32), "mask": np.ones(4, np.float32)}
    nearly_empty = {"x": np.zeros(4, np.float32), "mask": np.eye(4, dtype=np.float32)[0]}
    trainer = stock(tmp_path, gradient_accumulation_steps=2)
    trainer.train([full, nearly_empty])
    mean_of_means, over_tokens = 0.1 * 2 * 1 / 2, 0.1 * 2 * 4 / 5
    assert float(trainer.model.w[...]) == pytest.approx(mean_of_means)
    assert mean_of_means != pytest.approx(over_tokens)


def test_backends_hear_orbax_and_other_trainers_for_ever(tmp_path: Path) -> None:
    """So the records of a trainer listen to a prefix of their own.

    MetricsLogger.close calls jax.monitoring.clear_event_listeners, which leaves the scalar ones.
    """
    listener = Listener()
    stock(tmp_path / "one", listener).train(batches(2))
    assert any(not event.startswith("stock/") for event in listener.events)
    heard = listener.events.count("stock/train/loss")
    stock(tmp_path / "two").train(batches(2))
    assert listener.events.count("stock/train/loss") > heard == 2


def test_lora_of_qwix_has_the_format_of_a_bfloat16_base() -> None:
    """So LoRA weights are our own, in float32, and Adam's moments with them."""

    def build() -> Any:
        model = new_tunix_model(GEMMA3)
        state = jax.tree.map(lambda x: x.astype(jnp.bfloat16), nnx.state(model, nnx.Param))
        nnx.update(model, state)
        return with_qwix_lora(model, ALL_LINEAR)

    lora = nnx.state(nnx.eval_shape(build), nnx.LoRAParam)
    assert {x.dtype for x in jax.tree.leaves(lora)} == {jnp.bfloat16.dtype}


def test_gemma1_safetensors_name_a_parameter_that_its_model_lacks() -> None:
    """Hugging Face's post_attention_layernorm is Gemma 1's pre_ffw_norm, as we read it."""
    model = nnx.eval_shape(lambda: new_tunix_model(GEMMA1))
    has = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    rules = params_safetensors._get_key_and_transform_mapping(model.config)
    name = "model.layers.0.post_attention_layernorm.weight"
    [(pattern, (target, _))] = [(p, t) for p, t in rules.items() if re.fullmatch(p, name)]
    assert re.sub(pattern, target, name) == "layers.0.post_attn_norm.scale"
    assert "layers.0.post_attn_norm.scale" not in has
    assert "layers.0.pre_ffw_norm.scale" in has


def test_the_default_loss_holds_the_logits_of_every_token() -> None:
    """Of the prompt too; `target_log_probs` holds a chunk of those that are predicted."""
    arch = replace(GEMMA1, num_layers=1, vocab_size=16_384)
    rows, length = 2, 64
    graph, abstract = nnx.split(nnx.eval_shape(lambda: new_tunix_model(arch)))
    tokens = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    inputs = TrainingInput(tokens, jax.ShapeDtypeStruct((rows, length), jnp.bool))
    mask = jax.ShapeDtypeStruct((rows, length, length), jnp.bool)

    def loss(state: Any, tokens: Any, target_mask: Any, mask: Any) -> jax.Array:
        model = nnx.merge(graph, state)
        return _default_loss_fn(model, tokens, target_mask, tokens, mask)

    lowered = jax.jit(jax.grad(loss)).lower(abstract, tokens, inputs.input_mask, mask)
    temporaries = lowered.compile().memory_analysis().temp_size_in_bytes
    assert temporaries > 2 * rows * length * arch.vocab_size * 4
