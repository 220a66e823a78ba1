"""Stock Tunix: its Gemma3, its PeftTrainer with the default loss, LoRA by qwix, padded batches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import qwix
from flax import nnx
from tunix.models.gemma3 import model as gemma3
from tunix.models.gemma3 import params_safetensors
from tunix.sft import hooks, peft_trainer, utils

from bench import ours, worker
from bench.workloads import Workload
from reasoning_lab.engine import devices, locate

_PAD_ID = 0
_ALL_LINEAR = ".*(q_einsum|kv_einsum|attn_vec_einsum|gate_proj|up_proj|down_proj)"


def measure(workload: Workload) -> worker.Result:
    mesh = devices.start(ours.HARDWARE)  # the same compilation cache and device as ours
    compilations = ours.count_compilations()
    clock, first_loss = worker.StepClock(), _FirstLoss()
    with mesh:  # without it Tunix compiles the step a second time
        model = params_safetensors.create_model_from_safe_tensors(
            str(locate.model_folder(worker.MODEL)),
            gemma3.ModelConfig.gemma3_270m(),
            mesh,
            jnp.float32,
        )
        provider = qwix.LoraProvider(
            module_path=_ALL_LINEAR, rank=worker.LORA.rank, alpha=worker.LORA.alpha
        )
        model = qwix.apply_lora_to_model(
            model, provider, rngs=nnx.Rngs(0), **model.get_model_input()
        )
        trainer = peft_trainer.PeftTrainer(
            model,
            optax.adamw(worker.LEARNING_RATE),
            peft_trainer.TrainingConfig(eval_every_n_steps=1000),
        )
        trainer.with_gen_model_input_fn(_model_input)
        trainer.with_training_hooks(first_loss)
        trainer.is_managed_externally = True  # train() then returns after each batch, still open
        for step in range(worker.WARMUP_STEPS + workload.peer_steps):
            tokens, mask = worker.padded(workload, step, _PAD_ID)
            trainer.train([peft_trainer.TrainingInput(input_tokens=tokens, input_mask=mask)])
            clock.step_ended()
    ours.require_one(compilations)
    _check_trained(model)
    return worker.Result(
        seconds=clock.timed,
        initial_loss=first_loss.value,
        peak_bytes=worker.peak_bytes(),
        matmul_flops=ours.matmul_flops(),
        versions=worker.versions("google-tunix", "jax", "qwix"),
    )


def _model_input(batch: peft_trainer.TrainingInput) -> dict[str, jax.Array]:
    is_token = batch.input_tokens != _PAD_ID
    return {
        "input_tokens": batch.input_tokens,
        "input_mask": batch.input_mask,
        "positions": utils.build_positions_from_mask(is_token),
        "attention_mask": utils.make_causal_attn_mask(is_token),
    }


def _check_trained(model: nnx.Module) -> None:
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
    worker.run(measure)
