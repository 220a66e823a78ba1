"""Stock Tunix: its Gemma3, its PeftTrainer with the default loss, LoRA by qwix, padded batches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import qwix
from flax import nnx
from jax.sharding import Mesh
from tunix.models.gemma3 import model as gemma3
from tunix.models.gemma3 import params_safetensors
from tunix.sft import hooks, peft_trainer, utils

from bench import jax_tools, worker
from bench.sft_workloads import Workload
from reasoning_lab.engine import devices, locate

_PAD_ID = 0
_ALL_LINEAR = ".*(q_einsum|kv_einsum|attn_vec_einsum|gate_proj|up_proj|down_proj)"


def measure(workload: Workload) -> worker.SFTResult:
    mesh = devices.start(jax_tools.HARDWARE)  # the same compilation cache and device as ours
    compilations = jax_tools.Compilations("train_step")
    clock, first_loss = worker.StepClock(), _FirstLoss()
    with mesh:  # without it Tunix compiles the step a second time
        model = lora_model(base_model(mesh))
        trainer = peft_trainer.PeftTrainer(
            model,
            optax.adamw(worker.LEARNING_RATE),
            peft_trainer.TrainingConfig(eval_every_n_steps=1000),
        )
        trainer.with_gen_model_input_fn(model_input)
        trainer.with_training_hooks(first_loss)
        trainer.is_managed_externally = True  # train() then returns after each batch, still open
        for step in range(worker.WARMUP_STEPS + workload.peer_steps):
            tokens, mask = workload.padded(step, _PAD_ID)
            trainer.train([peft_trainer.TrainingInput(input_tokens=tokens, input_mask=mask)])
            clock.step_ended()
    compilations.require_none_timed(clock)
    check_trained(model)
    return worker.SFTResult(
        seconds=clock.timed,
        initial_loss=first_loss.value,
        peak_bytes=worker.peak_bytes(),
        matmul_flops=jax_tools.matmul_flops(),
        versions=worker.versions("google-tunix", "jax", "qwix"),
    )


def base_model(mesh: Mesh) -> gemma3.Gemma3:
    return params_safetensors.create_model_from_safe_tensors(
        str(locate.model_folder(worker.MODEL)), gemma3.ModelConfig.gemma3_270m(), mesh, jnp.float32
    )


def lora_model(base: gemma3.Gemma3) -> gemma3.Gemma3:
    """The model with fresh LoRA weights; it shares the base's buffers."""
    provider = qwix.LoraProvider(
        module_path=_ALL_LINEAR, rank=worker.LORA.rank, alpha=worker.LORA.alpha
    )
    return qwix.apply_lora_to_model(base, provider, rngs=nnx.Rngs(0), **base.get_model_input())


def model_input(batch: peft_trainer.TrainingInput) -> dict[str, jax.Array]:
    is_token = batch.input_tokens != _PAD_ID
    return {
        "input_tokens": batch.input_tokens,
        "input_mask": batch.input_mask,
        "positions": utils.build_positions_from_mask(is_token),
        "attention_mask": utils.make_causal_attn_mask(is_token),
    }


def check_trained(model: nnx.Module) -> None:
    """qwix's LoRA can be bypassed silently; B starts at zero and moves only if it is trained."""
    state = nnx.state(model, nnx.LoRAParam)
    if not all(np.any(leaf) for leaf in jax.tree.leaves(state)):
        raise RuntimeError("some LoRA weights of the Tunix model are not trained")


class _FirstLoss(hooks.TrainingHooks):
    """Tunix hands out the loss of a step while the next one runs."""

    value = float("nan")

    def on_train_step_end(
        self, train_ctx: peft_trainer.PeftTrainer, train_step: int, train_loss: float
    ) -> None:
        if train_step == 1:
            self.value = float(train_loss)

    def on_train_start(self, train_ctx: peft_trainer.PeftTrainer) -> None: ...

    def on_train_end(self, train_ctx: peft_trainer.PeftTrainer) -> None: ...

    def on_train_step_start(self, train_ctx: peft_trainer.PeftTrainer) -> None: ...

    def on_eval_step_start(self, train_ctx: peft_trainer.PeftTrainer) -> None: ...

    def on_eval_step_end(self, train_ctx: peft_trainer.PeftTrainer, eval_loss: float) -> None: ...


if __name__ == "__main__":
    worker.run(measure, Workload.load)
