"""GRPO spread over eight devices is GRPO on one; in a process that has eight."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_TRAIN = """
import json, sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from reasoning_lab.data.example import Example
from reasoning_lab.data.prompts import ProblemBatches
from reasoning_lab.engine import devices, grpo_step
from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.engine.grpo import GRPOTrainer
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.models import load_policy
from reasoning_lab.engine.specs import LoraSpec, ModelSpec
from reasoning_lab.hardware.specs import HardwareSpec
from reasoning_lab.stages.specs import GRPOSpec

ARCHITECTURES["gemma3_tiny"] = replace(ARCHITECTURES["gemma3_tiny"], num_layers=1)
problems = [Example(str(n), "s", "d", f"{n} + 1?", None, str(n + 1), "") for n in range(8)]
stage = GRPOSpec(
    learning_rate=0.01, warmup_ratio=0.0, max_steps=3, batch_size=4, num_generations=4,
    max_prompt_length=128, max_completion_length=8, row_length=192, rollouts_every=1,
)

def judge(attempts):
    total = np.array([len(a.completion) + n % 3 for n, a in enumerate(attempts)], float)
    return SimpleNamespace(
        components={}, total=total, finite=np.isfinite(total), correct=np.zeros(len(total)),
        too_slow=(),
    )

results = []
for fsdp, tp in ((1, 1), (8, 1), (2, 4)):
    hardware = HardwareSpec(
        platform="cpu", fsdp=fsdp, tp=tp, param_dtype="float32", remat=False,
        rows_per_micro_batch=1, generation_batch_size=16,
    )
    one = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("fsdp", "tp"))
    policy = load_policy(
        ModelSpec(architecture="gemma3_tiny", weights="random"),
        LoraSpec(rank=4, alpha=8.0, target_modules=("v_proj", "down_proj")),
        param_dtype="float32", mesh=one if fsdp == 1 else devices.start(hardware), seed=0,
    )
    trainer = GRPOTrainer(
        policy, jax.tree.map(jnp.copy, policy.params), stage,
        batches=ProblemBatches(problems, batch_size=4, seed=0), judge=judge, rows_at_once=8,
        generation_batch_size=16, execution=Execution.on(policy.mesh, hardware),
        checkpoint_dir=Path(sys.argv[1]) / f"{fsdp}x{tp}", seed=0,
    )
    metrics, rollouts, programs = [], [], []
    before = grpo_step.train_step._cache_size()
    trainer.fit(
        lambda step, values: metrics.append(values),
        lambda step, records: rollouts.append([r["tokens"] for r in records]),
        lambda step: programs.append(grpo_step.train_step._cache_size() - before),
    )
    leaves = jax.tree.leaves(policy.params)
    results.append({
        "metrics": metrics, "rollouts": rollouts, "programs": programs,
        "params": [np.asarray(x).ravel().tolist() for x in leaves],
        "whole": all(x.is_fully_replicated for x in leaves),
        "devices": len(leaves[0].devices()),
    })
print(json.dumps(results))
"""


def test_training_on_eight_devices_is_training_on_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _TRAIN, str(tmp_path)],
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8 "
            + os.environ.get("XLA_FLAGS", ""),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    one, *others = json.loads(done.stdout.splitlines()[-1])
    assert one["devices"] == 1
    for eight in others:
        compare(eight, one)


def compare(eight: dict[str, Any], one: dict[str, Any]) -> None:
    assert eight["devices"] == 8
    assert eight["whole"]
    assert eight["rollouts"] == one["rollouts"]
    assert eight["programs"][-1] == eight["programs"][1]
    for ours, expected in zip(eight["params"], one["params"], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    for ours, expected in zip(eight["metrics"], one["metrics"], strict=True):
        for name, value in expected.items():
            if not name.startswith(("time/", "speed/")):
                assert ours[name] == pytest.approx(value, rel=1e-2, abs=1e-4), name
