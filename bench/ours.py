"""reasoning_lab's own SFT, as a run does it: its trainer, packed rows, no rematerialisation."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bench import worker
from bench.workloads import Workload
from reasoning_lab.engine import devices
from reasoning_lab.engine.models import load_policy
from reasoning_lab.engine.trainer import SFTTrainer
from reasoning_lab.hardware.specs import HardwareSpec
from reasoning_lab.stages.specs import SFTSpec

HARDWARE = HardwareSpec(
    platform="cpu", param_dtype="float32", remat=False, rows_per_micro_batch=2, eval_batch_size=32
)


def measure(workload: Workload) -> worker.Result:
    mesh = devices.start(HARDWARE)
    compilations = count_compilations()
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
            remat=HARDWARE.remat,
            checkpoint_dir=Path(folder),
        )
        trainer.fit(on_step, after_step)
    require_one(compilations)
    return worker.Result(
        seconds=clock.timed,
        initial_loss=losses[1],
        peak_bytes=worker.peak_bytes(),
        matmul_flops=matmul_flops(),
        versions=worker.versions("jax", "google-tunix"),
    )


def count_compilations() -> list[str]:
    """A list that from now on grows with every compilation of a training step."""
    names: list[str] = []

    def on_event(event: str, seconds: float, **details: str | int) -> None:
        name = str(details.get("fun_name"))
        if event.endswith("backend_compile_duration") and "train_step" in name:
            names.append(name)

    jax.monitoring.register_event_duration_secs_listener(on_event)
    return names


def require_one(compilations: list[str]) -> None:
    """Raise if a timed step was compiled again: that is not what training costs."""
    if len(compilations) != 1:
        raise RuntimeError(f"compiled {len(compilations)} times, not once, in the warm-up step")


def matmul_flops() -> float:
    product = jax.jit(jax.numpy.matmul)
    return worker.matmul_flops(
        lambda left, right: product(left, right).block_until_ready(), jax.numpy.asarray
    )


if __name__ == "__main__":
    worker.run(measure)
