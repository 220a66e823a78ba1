"""Tunix's RLCluster and trainer, with our rollouts and our step in them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from tunix.rl import rl_cluster
from tunix.rl import trainer as rl_trainer
from tunix.rl.rollout import base_rollout
from tunix.sft import peft_trainer

from reasoning_lab.engine import grpo_step, layout
from reasoning_lab.engine.grpo_groups import Record, Step
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.memory import naming_memory
from reasoning_lab.engine.models import Policy
from reasoning_lab.engine.rollout import PolicyRollout
from reasoning_lab.engine.schedule import learning_rate
from reasoning_lab.engine.sft_step import adamw_direction
from reasoning_lab.engine.trainer import DivergedError
from reasoning_lab.stages.specs import GRPOSpec

OnStep = Callable[[int, dict[str, float]], None]
OnRollouts = Callable[[int, list[Record]], None]
AfterStep = Callable[[int], None]


def nothing(*_: Any) -> None:
    """For callbacks that nobody wants."""


class NotANumberError(DivergedError):
    """A reward or gradient is no finite number; `records` are the samples it came from."""

    def __init__(self, message: str, records: list[Record]) -> None:
        super().__init__(message)
        self.records = records


class Cluster(rl_cluster.RLCluster):
    """Tunix's cluster around a policy whose frozen base it never sees."""

    def __init__(
        self,
        policy: Policy,
        stage: GRPOSpec,
        rollout_config: base_rollout.RolloutConfig,
        rollout: Callable[..., PolicyRollout],
    ) -> None:
        super().__init__(
            actor=policy.lora,
            tokenizer=_TunixTokenizer(policy),
            cluster_config=rl_cluster.ClusterConfig(
                role_to_mesh=dict.fromkeys(rl_cluster.Role, policy.mesh),
                rollout_engine=rollout,
                rollout_config=rollout_config,
                training_config=rl_cluster.RLTrainingConfig(
                    actor_optimizer=_direction(stage),
                    eval_every_n_steps=stage.max_steps * stage.num_iterations,
                    max_steps=stage.max_steps * stage.num_iterations,
                ),
            ),
        )

    def use(self, actor: "Actor") -> None:
        """Train with `actor`: the cluster makes a stock trainer and takes no other class."""
        self._actor_trainer = actor

    def update_actor(self, train_ds: Any, eval_ds: Any, skip_jit: bool = False) -> None:
        # Not under the mesh as context, as in Tunix: it would spread the steps' rows once more, and
        # by their micro-batches.
        self.actor_trainer.train(train_ds, eval_ds, skip_jit)


class Actor(rl_trainer.Trainer):
    """Tunix's trainer with our step; counts updates, of which a step has num_iterations."""

    def __init__(
        self, policy: Policy, stage: GRPOSpec, *, execution: Execution, checkpoint_dir: Path
    ) -> None:
        self.sinks: tuple[OnStep, OnRollouts, AfterStep] = (nothing, nothing, nothing)
        self._policy = policy
        self._stage = stage
        self._execution = execution
        self._direction = _direction(stage)
        self._old: jax.Array | None = None
        self._updates: list[dict[str, jax.Array]] = []
        self._ended = time.perf_counter()
        config = peft_trainer.TrainingConfig(
            eval_every_n_steps=stage.max_steps * stage.num_iterations,
            checkpoint_root_directory=str(checkpoint_dir.absolute()),
            checkpointing_options=ocp.CheckpointManagerOptions(
                save_interval_steps=stage.checkpoint_every * stage.num_iterations,
                max_to_keep=stage.checkpoints_to_keep,
            ),
            metrics_prefix="grpo",
        )
        super().__init__(policy.lora, self._direction, config, dict)
        # Counts begin elsewhere: the first step would get a program of its own, and what is on one
        # device alone could not be saved by several hosts.
        state = layout.replicate(nnx.as_pure(nnx.state(self.optimizer)), policy.mesh)
        nnx.update(self.optimizer, state)

    @property
    def steps_done(self) -> int:
        return int(self.train_steps) // self._stage.num_iterations

    def _post_process_train_step(self, aux: Any) -> None:
        """Metrics are reported by the step, whole."""

    def create_train_step_fn(self) -> Callable[[Step], tuple[Any, Any, Any]]:
        return naming_memory("GRPO step")(self._update)

    def _update(self, step: Step) -> tuple[Any, Any, Any]:
        begun = time.perf_counter()
        stage, policy = self._stage, self._policy
        iteration = int(self.train_steps) % stage.num_iterations
        old = step.reference if iteration == 0 else self._old
        in_loss = stage.beta if stage.kl_estimator == "k3" else 0.0
        rate = learning_rate(stage, step.number, stage.max_steps)
        params, optimizer_state, scores, metrics = grpo_step.train_step(
            policy.params,
            nnx.as_pure(self.optimizer.opt_state),
            policy.base,
            step.rows,
            step.used,
            old,
            iteration == 0,
            step.reference,
            np.float32(rate),
            np.float32(in_loss),
            np.float32(stage.epsilon),
            np.float32(stage.highest_ratio - 1),
            np.float32(stage.temperature),
            np.float32(policy.lora_scale),
            arch=policy.arch,
            target_modules=policy.target_modules,
            direction=self._direction,
            sequence_ratio=stage.importance_ratio == "sequence",
            execution=self._execution,
        )
        nnx.update(self.model, params)
        nnx.update(self.optimizer.opt_state, nnx.state(optimizer_state))
        self._old = scores
        self._updates.append(metrics)
        if float(metrics["skipped"]) and stage.on_nan == "stop":
            raise NotANumberError(
                f"The loss or gradient of step {step.number + 1} is no finite number. Lower "
                "stage.learning_rate, or leave out such updates: stage.on_nan=skip. Checkpoints "
                "of earlier steps are kept.",
                step.records(),
            )
        spent = step.metrics.get("time/train", 0.0) + time.perf_counter() - begun
        step.metrics["time/train"] = spent
        if iteration == stage.num_iterations - 1:
            self._report(step, rate)
        return metrics["loss"], None, metrics["grad_norm"]

    def _report(self, step: Step, rate: float) -> None:
        number = step.number + 1
        on_step, on_rollouts, after_step = self.sinks
        updates, self._updates = self._updates, []
        metrics = {
            f"train/{name}": float(np.mean([float(update[name]) for update in updates]))
            for name in updates[0]
            if name != "skipped"
        }
        if not self._stage.beta:
            del metrics["train/kl"]  # not measured
        metrics["train/skipped_updates"] = sum(float(update["skipped"]) for update in updates)
        metrics["train/learning_rate"] = rate
        now = time.perf_counter()
        metrics["time/step"] = now - self._ended
        on_step(number, {**metrics, **step.metrics})
        if number == 1 or number % self._stage.rollouts_every == 0:
            on_rollouts(number, step.records())
        after_step(number)
        self._ended = time.perf_counter()


class _TunixTokenizer:
    """The methods that Tunix's cluster wants a tokenizer to have."""

    def __init__(self, policy: Policy) -> None:
        self.encode = policy.tokenizer.encode
        self.decode = policy.tokenizer.decode
        self._ids = policy.tokenizer

    def bos_id(self) -> int:
        return self._ids.bos_id

    def eos_id(self) -> int:
        return self._ids.eos_id

    def pad_id(self) -> int:
        return self._ids.pad_id


def _direction(stage: GRPOSpec) -> Any:
    return adamw_direction(stage.adam_b1, stage.adam_b2, stage.weight_decay, stage.max_grad_norm)
