"""Stock Tunix: its RLCluster and GRPOLearner, its Gemma3 and rollout, LoRA by qwix.

Its defaults but for the KL estimator: "low_var_kl" as in the GRPO paper, which costs the same.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tunix.rl import rl_cluster
from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner
from tunix.rl.rollout.base_rollout import RolloutConfig, RolloutOutput

from bench import grpo_workloads, jax_tools, worker
from bench.grpo_workloads import CONTROL_WORDS, NEVER_WRITTEN, Workload
from bench.sft_tunix import base_model, check_trained, lora_model
from reasoning_lab.engine import devices

_PROGRAMS = ("train_step", "prefill", "decode", "compute_per_token_logps")


def measure(workload: Workload) -> worker.GRPOResult:
    mesh = devices.start(jax_tools.HARDWARE)
    compilations = jax_tools.Compilations(*_PROGRAMS)
    clock = worker.StepClock()
    with mesh:
        reference = base_model(mesh)
        actor = lora_model(reference)
        cluster = _TimedCluster(
            workload,
            clock,
            actor=actor,
            reference=reference,
            tokenizer=_Words(),
            cluster_config=rl_cluster.ClusterConfig(
                role_to_mesh=dict.fromkeys(
                    (rl_cluster.Role.ACTOR, rl_cluster.Role.REFERENCE, rl_cluster.Role.ROLLOUT),
                    mesh,
                ),
                training_config=rl_cluster.RLTrainingConfig(
                    actor_optimizer=optax.adamw(worker.LEARNING_RATE),
                    eval_every_n_steps=1000,
                    max_steps=len(workload.prompts),
                ),
                rollout_config=RolloutConfig(
                    max_prompt_length=workload.prompt_length,
                    max_tokens_to_generate=workload.new_tokens,
                    kv_cache_size=workload.prompt_length + workload.new_tokens,
                    temperature=grpo_workloads.TEMPERATURE,
                    eos_tokens=[NEVER_WRITTEN],
                ),
            ),
        )
        learner = GRPOLearner(
            cluster,
            GRPOConfig(
                num_generations=workload.generations,
                beta=grpo_workloads.BETA,
                kl_loss_mode="low_var_kl",
            ),
            reward_fns=_rewards,
        )
        initial_loss = _initial_loss(cluster, workload)
        prompts = [grpo_workloads.words(prompt) for prompt in workload.prompts]
        learner.train([{"prompts": np.array([prompt])} for prompt in prompts])
    compilations.require_none_timed(clock)
    check_trained(actor)
    return worker.GRPOResult(
        seconds=clock.timed,
        initial_loss=initial_loss,
        peak_bytes=worker.peak_bytes(),
        phases=clock.timed_phases,
        read_bandwidth=jax_tools.read_bandwidth(),
        versions=worker.versions("google-tunix", "jax", "qwix"),
    )


class _TimedCluster(rl_cluster.RLCluster):
    """Waits for results where Tunix would go on and wait for them a moment later."""

    def __init__(self, workload: Workload, clock: worker.StepClock, **arguments: Any) -> None:
        self._workload, self._clock = workload, clock
        super().__init__(**arguments)

    def generate(self, *arguments: Any, **options: Any) -> RolloutOutput:
        with self._clock.phase("rollout"):
            output = super().generate(*arguments, **options)
        self._workload.check_rollout(output.left_padded_prompt_tokens, output.tokens)
        return output

    def get_ref_per_token_logps(self, *arguments: Any, **options: Any) -> jax.Array:
        with self._clock.phase("reference"):
            return super().get_ref_per_token_logps(*arguments, **options).block_until_ready()

    def update_actor(self, *arguments: Any, **options: Any) -> None:
        super().update_actor(*arguments, **options)
        jax.block_until_ready(nnx.state(self.actor_trainer.model, nnx.LoRAParam))
        self._clock.step_ended()


class _Words:
    """Text is token ids, for Tunix. Its sampler itself puts <bos> in front, if it is not there."""

    def encode(self, text: str) -> list[int]:
        return grpo_workloads.ids_of(text)

    def decode(self, ids: list[int]) -> str:
        return grpo_workloads.words(ids)

    def bos_id(self) -> int:
        return CONTROL_WORDS["<bos>"]

    def eos_id(self) -> int:
        return NEVER_WRITTEN

    def pad_id(self) -> int:
        return CONTROL_WORDS["<pad>"]


def _rewards(prompts: list[str], completions: list[str], **_: object) -> list[float]:
    return [grpo_workloads.reward(grpo_workloads.ids_of(text)) for text in completions]


def _initial_loss(cluster: rl_cluster.RLCluster, workload: Workload) -> float:
    log_probs = cluster.get_ref_per_token_logps(
        prompt_tokens=jnp.array([workload.prompts[0]] * workload.generations, jnp.int32),
        completion_tokens=jnp.array(workload.fixed_completions, jnp.int32),
        pad_id=CONTROL_WORDS["<pad>"],
        eos_id=NEVER_WRITTEN,
    )
    return -float(log_probs.mean())


if __name__ == "__main__":
    worker.run(measure, Workload.load)
