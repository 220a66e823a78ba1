"""reasoning_lab's own GRPO, as a run does it: its trainer, rollouts and shared-prompt rows."""

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import numpy as np

from bench import grpo_workloads, jax_tools, worker
from bench.grpo_workloads import NEVER_WRITTEN, Workload
from reasoning_lab.data.example import Example
from reasoning_lab.engine import devices, generate, grpo_step
from reasoning_lab.engine.grpo import GRPOTrainer
from reasoning_lab.engine.grpo_batch import RowShape, pack_groups
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.models import Policy, load_policy
from reasoning_lab.rewards.specs import Attempt
from reasoning_lab.stages.specs import GRPOSpec

_PROGRAMS = ("train_step", "prefill", "decode", "log_probs_of_rows")


def measure(workload: Workload) -> worker.GRPOResult:
    mesh = devices.start(jax_tools.HARDWARE)
    compilations = jax_tools.Compilations(*_PROGRAMS)
    policy = load_policy(worker.MODEL, worker.LORA, param_dtype="float32", mesh=mesh, seed=0)
    policy.tokenizer = _Words()
    reference = jax.tree.map(jax.numpy.copy, policy.params)
    initial_loss = _initial_loss(policy, workload)
    stage = GRPOSpec(
        max_steps=len(workload.prompts),
        batch_size=1,
        num_generations=workload.generations,
        beta=grpo_workloads.BETA,
        temperature=grpo_workloads.TEMPERATURE,
        learning_rate=worker.LEARNING_RATE,
        max_prompt_length=workload.prompt_length,
        max_completion_length=workload.new_tokens,
        row_length=_row_length(workload),
        end_after_answer=False,
        checkpoint_every=len(workload.prompts),
    )
    clock = worker.StepClock()

    def after_step(step: int) -> None:
        jax.block_until_ready(policy.params)
        clock.step_ended()

    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            policy,
            reference,
            stage,
            batches=_Batches(workload),
            judge=_judge,
            rows_at_once=jax_tools.HARDWARE.rows_per_micro_batch,
            generation_batch_size=jax_tools.HARDWARE.generation_batch_size,
            execution=Execution.on(policy.mesh, jax_tools.HARDWARE),
            checkpoint_dir=Path(folder),
            seed=0,
        )
        with _timed(clock, trainer):
            trainer.fit(after_step=after_step, on_rollouts=_checking(workload))
    compilations.require_none_timed(clock)
    return worker.GRPOResult(
        seconds=clock.timed,
        initial_loss=initial_loss,
        peak_bytes=worker.peak_bytes(),
        phases=clock.timed_phases,
        read_bandwidth=jax_tools.read_bandwidth(),
        versions=worker.versions("google-tunix", "jax"),
    )


@contextmanager
def _timed(clock: worker.StepClock, trainer: GRPOTrainer) -> Iterator[None]:
    """Clocks around the phases of a step."""

    def timed(phase: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            with clock.phase(phase):
                return jax.block_until_ready(function(*arguments, **options))

        return call

    with (
        patch.object(trainer.rl_cluster, "generate", timed("rollout", trainer.rl_cluster.generate)),
        patch.object(generate, "decode", timed("decoding", generate.decode)),
        patch.object(
            grpo_step, "log_probs_of_rows", timed("reference", grpo_step.log_probs_of_rows)
        ),
    ):
        yield


def _row_length(workload: Workload) -> int:
    """One row holds the prompt and half of the completions: two rows a step, one micro-batch."""
    return workload.prompt_length + workload.generations // 2 * workload.new_tokens


def _initial_loss(policy: Policy, workload: Workload) -> float:
    rows = jax_tools.HARDWARE.rows_per_micro_batch
    shape = RowShape(1, rows, _row_length(workload))
    packed = pack_groups([(workload.prompts[0], workload.fixed_completions)], shape)
    log_probs = grpo_step.log_probs_of_rows(
        policy.params,
        policy.base,
        packed.arrays,
        packed.used,
        np.float32(policy.lora_scale),
        np.float32(grpo_workloads.TEMPERATURE),
        arch=policy.arch,
        target_modules=policy.target_modules,
    )
    tokens = workload.generations * workload.new_tokens
    return -float(packed.sum_of_completions(np.asarray(log_probs)).sum()) / tokens


def _checking(workload: Workload) -> Any:
    def check(step: int, records: Sequence[dict[str, Any]]) -> None:
        prompts = [grpo_workloads.ids_of(record["question"]) for record in records]
        workload.check_rollout(prompts, [record["tokens"] for record in records])

    return check


class _Batches:
    """The workload's prompts, one a step."""

    def __init__(self, workload: Workload) -> None:
        self._prompts = workload.prompts

    def batch(self, step: int) -> list[Example]:
        text = grpo_workloads.words(self._prompts[step])
        return [Example(str(step), "bench", "bench", text, None, "", "")]

    def spare(self, step: int, attempt: int) -> list[Example]:
        raise AssertionError("dead groups are not replaced here")


class _Words:
    """Text is token ids; a prompt is what follows the instruction."""

    pad_id, bos_id, eos_id = 0, 2, NEVER_WRITTEN
    end_ids = (NEVER_WRITTEN,)

    def encode(self, text: str) -> list[int]:
        return grpo_workloads.ids_of(text)

    def decode(self, ids: Sequence[int]) -> str:
        return grpo_workloads.words(ids)

    def prompt(self, text: str) -> list[int]:
        return self.encode(text.rpartition("\n")[2])


@dataclasses.dataclass(frozen=True)
class _Verdicts:
    total: np.ndarray[Any, Any]

    @property
    def components(self) -> dict[str, np.ndarray[Any, Any]]:
        return {"even": self.total}

    @property
    def finite(self) -> np.ndarray[Any, Any]:
        return np.isfinite(self.total)

    @property
    def correct(self) -> np.ndarray[Any, Any]:
        return np.zeros(len(self.total))

    @property
    def too_slow(self) -> tuple[str, ...]:
        return ()


def _judge(attempts: Sequence[Attempt]) -> _Verdicts:
    ids = [grpo_workloads.ids_of(attempt.completion) for attempt in attempts]
    return _Verdicts(np.array([grpo_workloads.reward(one) for one in ids]))


if __name__ == "__main__":
    worker.run(measure, Workload.load)
