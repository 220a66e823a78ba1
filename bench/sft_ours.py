"""reasoning_lab's own SFT, as a run does it: its trainer, packed rows, no rematerialisation."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bench import worker
from bench.jax_tools import HARDWARE, Compilations, matmul_flops
from bench.sft_workloads import Workload
from reasoning_lab.engine import devices
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.models import load_policy
from reasoning_lab.engine.trainer import SFTTrainer
from reasoning_lab.stages.specs import SFTSpec


def measure(workload: Workload) -> worker.SFTResult:
    mesh = devices.start(HARDWARE)
    compilations = Compilations("train_step")
    policy = load_policy(worker.MODEL, worker.LORA, param_dtype="float32", mesh=mesh, seed=0)
    clock = worker.StepClock()
    losses: dict[int, float] = {}

    def batch(step: int) -> Mapping[str, np.ndarray[Any, Any]]:
        return workload.packed(step).batch(0)

    def on_step(step: int, values: dict[str, float]) -> None:
        losses[step] = values["train/loss"]

    def after_step(step: int) -> None:
        jax.block_until_ready(policy.params)
        clock.step_ended()

    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            policy,
            SFTSpec(learning_rate=worker.LEARNING_RATE),
            batch_fn=batch,
            max_steps=worker.WARMUP_STEPS + workload.our_steps,
            micro_batches=max(1, workload.rows // HARDWARE.rows_per_micro_batch),
            execution=Execution.on(policy.mesh, HARDWARE),
            checkpoint_dir=Path(folder),
        )
        trainer.fit(on_step, after_step)
    compilations.require_none_timed(clock)
    return worker.SFTResult(
        seconds=clock.timed,
        initial_loss=losses[1],
        peak_bytes=worker.peak_bytes(),
        matmul_flops=matmul_flops(),
        versions=worker.versions("jax", "google-tunix"),
    )


if __name__ == "__main__":
    worker.run(measure, Workload.load)
