"""What is wrong in the Tunix, qwix and JAX that we pin, and worked round in the engine.

Each test shows a defect as it is today. One that fails after an upgrade says that the defect is
mended, and that the workaround it names may go.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import Mesh
from tiny_models import ALL_LINEAR, GEMMA1, GEMMA3, new_tunix_model, with_qwix_lora
from tunix.generate import sampler
from tunix.models.gemma import model as tunix_gemma
from tunix.models.gemma import params_safetensors
from tunix.rl import common, reward_manager, rl_cluster, rl_learner
from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner
from tunix.rl.queue.data_queue import SimpleDataQueue
from tunix.rl.rollout.vanilla_rollout import VanillaRollout
from tunix.sft.metrics_logger import MetricsLoggerOptions
from tunix.sft.peft_trainer import PeftTrainer, TrainingConfig, TrainingInput, _default_loss_fn
from tunix.utils import sharding_utils

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


def test_a_step_gives_back_the_whole_model() -> None:
    """Only the optimizer is donated, so all base weights exist twice; our step returns the LoRA.

    When this fails: what docs/performance.md says of memory is out of date.
    """

    class Adapted(nnx.Module):
        def __init__(self) -> None:
            self.base = nnx.Param(jnp.ones(10_000))
            self.lora = nnx.LoRAParam(jnp.ones(()))

    trainer = PeftTrainer(Adapted(), optax.sgd(0.1), TrainingConfig(eval_every_n_steps=100))
    trainer.with_loss_fn(lambda model, x: (model.base[...] * model.lora[...] * x).sum())
    step, _ = trainer.jit_train_and_eval_step()
    memory = step.func.lower(*step.args, {"x": jnp.float32(1)}).compile().memory_analysis()
    new = memory.output_size_in_bytes - memory.alias_size_in_bytes
    assert new > trainer.model.base[...].nbytes, "the model is donated now, or left out"


@pytest.mark.parametrize("shard", [sharding_utils.shard, tunix_gemma.shard])
@pytest.mark.filterwarnings("ignore:.*with mesh.*:DeprecationWarning")
def test_activations_have_no_place_where_the_process_is_on_a_cpu(shard: Any) -> None:
    """Also when it compiles for a TPU: the step would seem to need several times its memory.

    When this fails: `_shard` of bench/memory_tunix.py may go.
    """
    with Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("fsdp", "tp")):
        jaxpr = jax.make_jaxpr(lambda x: shard(x, ("fsdp",)) + 1)(jnp.ones(8))
    assert "sharding_constraint" not in str(jaxpr), "Tunix places activations on CPUs too now"


def test_a_reward_of_nan_counts_as_none() -> None:
    """So rewards are judged in GRPOTrainer (`finite`, stage.on_nan), not by Tunix's manager.

    When this fails: `_stop_at_nan` may go, and the judge may become Tunix's reward functions.
    """

    def broken(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [float("nan"), 1.0]

    def sound(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [0.5, 0.5]

    manager = reward_manager.SequenceRewardManager([broken, sound], GRPOConfig())
    rewards = manager(["a", "b"], ["c", "d"])["rewards"]
    assert rewards.tolist() == [0.5, 1.5], "Tunix tells NaN rewards now"


class Letters:
    """A tokenizer with one token a letter, of which 1 and everything above 40 may end a text."""

    def encode(self, text: str) -> list[int]:
        return [3 + ord(letter) % 32 for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "x" * len(ids)

    def bos_id(self) -> int:
        return 2

    def eos_id(self) -> int:
        return 1

    def pad_id(self) -> int:
        return 0


@pytest.fixture(scope="module")
def stock_sampler() -> sampler.Sampler:
    arch = replace(GEMMA3, num_layers=1, vocab_size=64)
    cache = sampler.CacheConfig(64, arch.num_layers, arch.num_kv_heads, arch.head_dim)
    return sampler.Sampler(new_tunix_model(arch), Letters(), cache)


def sampled(stock_sampler: sampler.Sampler, ends: list[int], **more: Any) -> list[list[int]]:
    output = stock_sampler(
        ["ask", "asks"],
        max_generation_steps=24,
        max_prompt_length=8,
        temperature=1.0,
        top_p=1.0,
        eos_tokens=ends,
        **more,
    )
    return [tokens.tolist() for tokens in output.tokens]


def test_without_a_seed_all_samples_are_the_same(stock_sampler: sampler.Sampler) -> None:
    """So GRPOTrainer gives every step a key of its own.

    When this fails: `_sample` may leave the keys to Tunix, if they still depend on the step alone.
    """
    first, again = (sampled(stock_sampler, [1]) for _ in range(2))
    assert first == again, "seed=None gives new samples now"
    assert first != sampled(stock_sampler, [1], seed=7)


def test_the_sampler_cuts_off_the_end_token(stock_sampler: sampler.Sampler) -> None:
    """And GRPOLearner masks what is padding: a stock policy is never taught where to end.

    When this fails: PolicyRollout does no more than Tunix in this, and says too much in its
    docstring.
    """
    ends = list(range(40, 64))
    rows = sampled(stock_sampler, ends)
    assert all(len(row) < 24 for row in rows)  # they did end
    assert not set(ends) & {token for row in rows for token in row}, "the end token is kept now"
    source = inspect.getsource(GRPOLearner._generate_and_compute_advantage)
    assert "completion_mask = np.not_equal(padded_completion_ids, pad_value)" in source


def test_temperature_0_with_top_p_divides_by_zero() -> None:
    """So our Sampling is greedy at temperature 0, whatever top_p is.

    When this fails: nothing to simplify, but the note on it in docs may go.
    """
    logits = jnp.array([[[0.0, 1.0, 2.0]]])
    key = jax.random.key(0)
    _, log_prob = sampler.sample_top_p(logits, key, 0.0, 0.9, None, return_logprobs=True)
    assert not np.isfinite(log_prob).any(), "temperature 0 is greedy now"


def test_the_cluster_takes_no_other_trainer() -> None:
    """So `Cluster.use` puts ours in place of the one that RLCluster has made.

    When this fails: give RLCluster the class Actor, and drop `Cluster.use`.
    """
    source = inspect.getsource(rl_cluster.RLCluster._init_cluster)
    assert "self._actor_trainer = rl_trainer.Trainer(" in source
    config = [*fields(rl_cluster.ClusterConfig), *fields(rl_cluster.RLTrainingConfig)]
    assert not [field.name for field in config if "trainer" in field.name]


def test_resuming_discards_the_data_of_every_update_not_of_every_step(tmp_path: Path) -> None:
    """github.com/google/tunix issue 2290: two updates a step skip twice the data.

    When this fails: GRPOTrainer need not set `_iter_steps`, and `_data` may begin at step 0.
    """
    steps, num_iterations = 2, 2
    stock(tmp_path).train(batches(steps * num_iterations))
    updates = stock(tmp_path).iter_steps  # RLLearner's `_last_iter_step`
    pulled: list[int] = []

    def problems() -> Iterator[dict[str, Any]]:
        for number in range(10):
            pulled.append(number)
            yield {"prompts": np.array(["?"])}

    learner = SimpleNamespace(
        rl_cluster=MagicMock(),
        _iter_steps=0,
        _last_iter_step=updates,
        _data_shuffle_seed=None,
        _compute_trajectory_ids=lambda example, step: ["0"],
        _process_accumulated_batches=lambda **_: [],
    )
    rl_learner.RLLearner._prepare_data(
        learner,
        problems(),
        proceed_num_steps=1,
        sample_repeat=1,
        batch_repeat=num_iterations,
        service_target_batch_size=1,
        data_queue=SimpleDataQueue(maxsize=0),
    )
    assert pulled[-1] == steps * num_iterations, "resuming goes on with the right batch now"
    assert pulled[-1] != steps


def test_old_log_probabilities_are_computed_at_temperature_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the rollout's is; so ours are those of the first update with the batch.

    When this fails: PolicyRollout.get_per_token_logps may be used for num_iterations > 1.
    """
    seen: dict[str, Any] = {}
    compute = common.compute_per_token_logps
    monkeypatch.setattr(common, "compute_per_token_logps", lambda *_, **given: seen.update(given))
    VanillaRollout.get_per_token_logps(MagicMock(**_NO_STATE), jnp.ones((1, 2)), jnp.ones((1, 2)))
    assert "completion_tokens" in seen
    assert "temperature" not in seen, "the rollout's temperature is handed on now"
    assert inspect.signature(compute).parameters["temperature"].default == 1.0


_NO_STATE = {"_sampler.model_def_and_state.return_value": (None, None)}
