"""Stock Tunix's steps: its trainers' own jitted functions, its Gemma models, LoRA by qwix.

Everything is abstract (nnx.eval_shape), and lies where Tunix's own annotations put it.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
import qwix
from flax import nnx
from jax.interpreters import pxla
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tunix.models.gemma import model as gemma
from tunix.models.gemma3 import model as gemma3
from tunix.rl import function_registry
from tunix.rl import trainer as rl_trainer
from tunix.rl.common import TrainExample
from tunix.rl.grpo.grpo_learner import GRPOConfig
from tunix.sft import peft_trainer
from tunix.utils import sharding_utils

from bench.sft_tunix import model_input
from reasoning_lab.engine.lora import TUNIX_PATHS
from reasoning_lab.engine.programs import Call, RowProgram, Setting

_PAD_ID, _END_ID = 0, 1
_LEARNING_RATE = 1e-5
_CONFIG = peft_trainer.TrainingConfig(eval_every_n_steps=1000)


@dataclass(frozen=True)
class _TunixCall(Call):
    """`function` is one of flax, `arrays` are its nnx objects and a batch."""

    mesh: Mesh

    def trace(self) -> jax.stages.Traced:
        sharding_utils.shard = gemma.shard = _shard
        with self.mesh:
            return self.function.trace(*self.arrays.values()).traced


@dataclass(frozen=True, kw_only=True)
class TunixSFTStep(RowProgram):
    """PeftTrainer's step with the default loss, padded rows.

    packages: versions of Tunix and qwix, for what was compiled is kept by what a program says.
    """

    name = "Tunix's SFT step"
    phase = "SFT step"
    trains = True

    packages: str

    def call(self, mesh: Mesh) -> Call:
        batch = peft_trainer.TrainingInput(
            input_tokens=_rows(mesh, jnp.int32, self.rows, self.length),
            input_mask=_rows(mesh, jnp.bool_, self.rows, self.length),
        )
        return _call(lambda: _sft_trainer(self.setting), batch, mesh)


@dataclass(frozen=True, kw_only=True)
class TunixGRPOStep(TunixSFTStep):
    """The actor's step with GRPO's loss: in each row a prompt and one completion."""

    name = "Tunix's GRPO step"
    phase = "GRPO step"

    prompt_length: int

    def call(self, mesh: Mesh) -> Call:
        def rows(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
            return _rows(mesh, dtype, self.rows, *shape)

        prompt, completion = self.prompt_length, self.length - self.prompt_length
        batch = TrainExample(
            prompt_ids=rows(jnp.int32, prompt),
            prompt_mask=rows(jnp.bool_, prompt),
            completion_ids=rows(jnp.int32, completion),
            completion_mask=rows(jnp.bool_, completion),
            advantages=rows(jnp.float32),
            ref_per_token_logps=rows(jnp.float32, completion),
            old_per_token_logps=rows(jnp.float32, completion),
        )
        return _call(lambda: _grpo_trainer(self.setting, self.rows), batch, mesh)


def _shard(x: jax.Array, axes: tuple[str | None, ...], eager: bool = False) -> jax.Array:
    """Tunix's `shard` as it is on a TPU.

    Its own does nothing where this process is on a CPU, also when it compiles for a TPU, and the
    step would seem to need several times its memory.
    """
    mesh = pxla.thread_resources.env.physical_mesh
    placed: jax.Array = jax.lax.with_sharding_constraint(
        x, NamedSharding(mesh, PartitionSpec(*axes))
    )
    return placed


class _SFTTrainer(peft_trainer.PeftTrainer):
    def _shard_optimizer(self, mesh: Mesh) -> None:
        """Abstract arrays have their place already."""


class _GRPOTrainer(rl_trainer.Trainer):
    def _shard_optimizer(self, mesh: Mesh) -> None:
        """Abstract arrays have their place already."""


def _call(
    new_trainer: Callable[[], peft_trainer.PeftTrainer], batch: Any, mesh: Mesh
) -> _TunixCall:
    trainers = []

    def build() -> tuple[nnx.Module, nnx.Optimizer]:
        trainers.append(new_trainer())
        return trainers[0].model, trainers[0].optimizer

    with mesh:
        abstract = nnx.eval_shape(build)
        [trainer] = trainers
        trainer.model, trainer.optimizer = _placed(abstract, mesh)
        step, _ = trainer.jit_train_and_eval_step()
    model, optimizer = step.args
    arrays = {"model": model, "optimizer": optimizer, "batch": batch}
    return _TunixCall(step.func, arrays, {}, mesh)


def _sft_trainer(setting: Setting) -> peft_trainer.PeftTrainer:
    trainer = _SFTTrainer(_model(setting), optax.adamw(_LEARNING_RATE), _CONFIG)
    return trainer.with_gen_model_input_fn(model_input)


def _grpo_trainer(setting: Setting, num_generations: int) -> peft_trainer.PeftTrainer:
    trainer = _GRPOTrainer(
        _model(setting),
        optax.adamw(_LEARNING_RATE),
        _CONFIG,
        custom_checkpoint_metadata_fn=dict,
    )
    algorithm = GRPOConfig(num_generations=num_generations, kl_loss_mode="low_var_kl")
    algorithm.temperature = 1.0
    loss = function_registry.get_policy_loss_fn(algorithm.policy_loss_fn)
    # As GRPOLearner.__init__ gives them to its actor's trainer.
    trainer.with_loss_fn(
        lambda model, train_example, algo_config: loss(
            model, train_example, algo_config=algorithm, pad_id=_PAD_ID, eos_id=_END_ID
        ),
        has_aux=True,
    )
    return trainer.with_gen_model_input_fn(
        lambda example: {"train_example": example, "algo_config": algorithm}
    )


def _model(setting: Setting) -> nnx.Module:
    """Tunix's model in bfloat16 with qwix's LoRA, which takes over that type."""
    arch = setting.arch
    remat = "DECODER" if setting.remat else "NONE"
    model: Any
    if arch.query_key_norm:  # its layers of both kinds cost the same: all scores, then a mask
        config = gemma3.ModelConfig.gemma3_1b_it()
        sizes = {"num_layers": arch.num_layers, "remat_config": gemma3.RematConfig[remat]}
        model = gemma3.Gemma3(dataclasses.replace(config, **sizes), rngs=nnx.Rngs(0))
    else:
        kinds = {"local": gemma.AttentionType.LOCAL_SLIDING, "global": gemma.AttentionType.GLOBAL}
        sizes = {
            "num_layers": arch.num_layers,
            "attention_types": [kinds[arch.attention_kind(i)] for i in range(arch.num_layers)],
            "remat_config": gemma.RematConfig[remat],
        }
        config = gemma.ModelConfig.gemma2_2b_it()
        model = gemma.Gemma(dataclasses.replace(config, **sizes), rngs=nnx.Rngs(0))
    state = nnx.state(model, nnx.Param)
    nnx.update(model, jax.tree.map(lambda x: x.astype(setting.param_dtype), state))
    provider = qwix.LoraProvider(
        module_path=f".*({'|'.join(sorted(_adapted_modules(setting)))})",
        rank=setting.lora_rank,
        alpha=2 * setting.lora_rank,
    )
    return qwix.apply_lora_to_model(model, provider, rngs=nnx.Rngs(0), **model.get_model_input())


def _adapted_modules(setting: Setting) -> set[str]:
    """Tunix's names of the modules that LoRA adapts."""
    fused = {"kv_proj" if x in ("k_proj", "v_proj") else x for x in setting.target_modules}
    return {TUNIX_PATHS[name][1] for name in fused}


def _placed(nodes: Any, mesh: Mesh) -> Any:
    """Abstract nnx objects with the sharding that the annotations of their variables ask for."""
    graph, state = nnx.split(nodes)
    shardings = nnx.get_named_sharding(state, mesh)
    state = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        state,
        shardings,
    )
    return nnx.merge(graph, state)


def _rows(mesh: Mesh, dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
    """As tunix.sft.sharding_utils.shard_input places a batch."""
    sharding = NamedSharding(mesh, PartitionSpec("fsdp"))
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
