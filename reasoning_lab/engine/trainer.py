"""SFT on Tunix's PeftTrainer: its loop, checkpoints, metrics; our step, data and learning rate.

What is plugged in where:
- `create_train_step_fn`: the pure `train_step`, so that only LoRA state crosses the jit boundary.
  Stock Tunix passes the whole undonated model through jit and returns it every step.
- `data_hooks`: batch i for step i. Stock Tunix replays and discards the data of finished steps on
  resume (github.com/google/tunix issues 2288 and 2290).
- `custom_backend` of the metrics logger: whole records per step, without the JAX and Orbax scalars
  that share Tunix's channel.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from tunix.sft import hooks, metrics_logger, peft_trainer

from reasoning_lab.config import RunError
from reasoning_lab.engine import layout, sft_step
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.memory import naming_memory
from reasoning_lab.engine.models import Policy
from reasoning_lab.engine.schedule import learning_rate
from reasoning_lab.stages.specs import SFTSpec

BatchFn = Callable[[int], Mapping[str, np.ndarray[Any, Any]]]
"""Step (from 0) -> one batch, arrays [rows, length]; must be pure."""
OnStep = Callable[[int, dict[str, float]], None]
AfterStep = Callable[[int], None]


def _nothing(*_: Any) -> None: ...


class DivergedError(RunError):
    """The loss is no longer a finite number."""


class SFTTrainer(peft_trainer.PeftTrainer):
    """Trains the LoRA weights of a Policy; goes on from the newest checkpoint in `checkpoint_dir`.

    Args:
        batch_fn: the rows of each step.
        max_steps: optimizer steps in all; also the length of the learning-rate schedule.
        micro_batches: equal parts into which a step's rows are cut, one computed after another.
        execution: how the step is computed.
    """

    def __init__(
        self,
        policy: Policy,
        stage: SFTSpec,
        *,
        batch_fn: BatchFn,
        max_steps: int,
        micro_batches: int,
        execution: Execution,
        checkpoint_dir: Path,
    ) -> None:
        self.policy = policy
        self.max_steps = max_steps
        self.stop_requested = False
        self._last_step = max_steps
        self._stage = stage
        self._batch_fn = batch_fn
        self._micro_batches = micro_batches
        self._execution = execution
        self._records = _StepRecords()
        self._after_step: AfterStep = _nothing
        self._direction = sft_step.adamw_direction(
            stage.adam_b1, stage.adam_b2, stage.weight_decay, stage.max_grad_norm
        )
        config = peft_trainer.TrainingConfig(
            # Tunix would average evaluation batches whatever their token counts: see
            # `held_out_loss`.
            eval_every_n_steps=max_steps,
            checkpoint_root_directory=str(checkpoint_dir.absolute()),
            checkpointing_options=ocp.CheckpointManagerOptions(
                save_interval_steps=stage.checkpoint_every, max_to_keep=stage.checkpoints_to_keep
            ),
            metrics_logging_options=metrics_logger.MetricsLoggerOptions(
                log_dir=str(checkpoint_dir),
                backend_kwargs={"custom_backend": [lambda: self._records]},
            ),
            metrics_prefix=self._records.prefix,
        )
        super().__init__(policy.lora, self._direction, config)
        # Counts begin elsewhere: the first step would get a program of its own, and what is on one
        # device alone could not be saved by several hosts.
        state = layout.replicate(nnx.as_pure(nnx.state(self.optimizer)), policy.mesh)
        nnx.update(self.optimizer, state)
        self.with_data_hooks(_Batches())
        self.with_training_hooks(_FiniteLoss())

    def fit(
        self,
        on_step: OnStep = _nothing,
        after_step: AfterStep = _nothing,
        *,
        stop_at: int | None = None,
    ) -> int:
        """Train to `max_steps` or until `stop_requested`, save, and return the steps done.

        Args:
            stop_at: the step to end after as if a stop had been requested; None for the last.
            on_step: called with a step's number (from 1) and metrics once they leave the
                device, which is while the next step runs.
            after_step: called with a step's number as soon as its weights are in the policy.

        Raises:
            DivergedError: the loss became infinite or NaN.
        """
        self._records.sink = on_step
        self._after_step = after_step
        self._last_step = min(self.max_steps, stop_at or self.max_steps)
        with naming_memory("SFT step"):  # what a step lacks is told where its numbers are read
            self.train([], skip_jit=True)
        return int(self.train_steps)

    @property
    def checkpoint_bytes(self) -> int:
        """Size of one checkpoint: LoRA weights and optimizer state."""
        state = (self.policy.params, nnx.as_pure(self.optimizer.opt_state))
        return sum(leaf.nbytes for leaf in jax.tree.leaves(state))

    def create_train_step_fn(self) -> Callable[[sft_step.Batch], tuple[Any, Any, Any]]:
        def step(batch: sft_step.Batch) -> tuple[Any, Any, Any]:
            rate = learning_rate(self._stage, self.train_steps, self.max_steps)
            params, optimizer_state, metrics = sft_step.train_step(
                self.policy.params,
                nnx.as_pure(self.optimizer.opt_state),
                self.policy.base,
                batch,
                np.float32(rate),
                np.float32(self.policy.lora_scale),
                arch=self.policy.arch,
                target_modules=self.policy.target_modules,
                direction=self._direction,
                execution=self._execution,
            )
            nnx.update(self.model, params)
            nnx.update(self.optimizer.opt_state, nnx.state(optimizer_state))
            extra = {"learning_rate": rate, "target_tokens": metrics["target_tokens"]}
            return metrics["loss"], extra, metrics["grad_norm"]

        return step

    def next_batch(self) -> sft_step.Batch | None:
        """The coming step's batch with a leading micro-batch axis, or None when training ends."""
        if self.stop_requested or self.train_steps >= self._last_step:
            return None
        batch = {
            name: array.reshape(self._micro_batches, -1, *array.shape[1:])
            for name, array in self._batch_fn(self.train_steps).items()
        }
        sharded: sft_step.Batch = layout.shard_rows(batch, self.policy.mesh, axis=1)
        return sharded

    def _post_process_train_step(self, aux: dict[str, Any]) -> None:
        metrics = self._buffered_train_metrics.additional_metrics
        metrics.update({name: ([value], np.mean) for name, value in aux.items()})
        step = int(self.train_steps) + 1
        self._after_step(step)
        # Where a checkpoint follows, wait for the numbers: it could push out the last good one.
        last = step == self._last_step or self.stop_requested
        if last or step == 1 or step % self._stage.checkpoint_every == 0:
            _require_finite("loss", step, float(self._buffered_train_metrics.loss))
            _require_finite("gradient", step, float(metrics["grad_norm"][0][0]))


def _require_finite(what: str, step: int, value: float) -> None:
    if not math.isfinite(value):
        raise DivergedError(
            f"The {what} of step {step} is {value}. Lower stage.learning_rate or "
            "stage.max_grad_norm; checkpoints of earlier steps are kept."
        )


def held_out_loss(
    policy: Policy, batches: Sequence[Mapping[str, np.ndarray[Any, Any]]], execution: Execution
) -> float:
    """Mean loss in nats per target token over all batches, each [rows, length]."""
    total, tokens = 0.0, 0
    with naming_memory("held-out loss"):
        for batch in batches:
            loss, count = sft_step.evaluation_loss(
                policy.params,
                policy.base,
                layout.shard_rows(dict(batch), policy.mesh, axis=0),
                np.float32(policy.lora_scale),
                arch=policy.arch,
                target_modules=policy.target_modules,
                execution=execution,
            )
            total, tokens = total + float(loss), tokens + int(count)
    return total / max(tokens, 1)


class _StepRecords:
    """Tunix metrics backend: collects the scalars of one step and hands them on together.

    JAX and Orbax report on the same channel, and so do all trainers of the process, whose backends
    it never forgets: so each listens to a prefix of its own.
    """

    def __init__(self) -> None:
        self.prefix = f"sft-{id(self)}"
        self.sink: OnStep = _nothing
        self._step = 0
        self._metrics: dict[str, float] = {}

    def log_scalar(self, event: str, value: Any, **kwargs: Any) -> None:
        prefix, _, name = event.rpartition("/")
        if prefix != f"{self.prefix}/{metrics_logger.Mode.TRAIN}" or name == "perplexity":
            return
        step = int(kwargs["step"])
        if step != self._step:
            self._flush()
            self._step = step
        self._metrics[f"train/{name}"] = float(value)

    def close(self) -> None:
        self._flush()
        self.sink = _nothing

    def _flush(self) -> None:
        if self._metrics:
            self.sink(self._step, self._metrics)
        self._metrics = {}


class _Batches(hooks.DataHooks):
    def load_next_train_batch(self, train_ctx: SFTTrainer) -> sft_step.Batch | None:
        return train_ctx.next_batch()

    def load_next_eval_batch(self, train_ctx: SFTTrainer) -> None:
        return None


class _FiniteLoss(hooks.TrainingHooks):
    def on_train_start(self, train_ctx: SFTTrainer) -> None: ...

    def on_train_end(self, train_ctx: SFTTrainer) -> None: ...

    def on_train_step_start(self, train_ctx: SFTTrainer) -> None: ...

    def on_train_step_end(self, train_ctx: SFTTrainer, train_step: int, train_loss: float) -> None:
        _require_finite("loss", train_step, train_loss)

    def on_eval_step_start(self, train_ctx: SFTTrainer) -> None: ...

    def on_eval_step_end(self, train_ctx: SFTTrainer, eval_loss: float) -> None: ...
