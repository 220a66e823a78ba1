"""Training spread over eight devices is training on one; in a process that has eight."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

_TRAIN = """
import json, sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from reasoning_lab.data.packing import PackedRows, TokenizedExample
from reasoning_lab.engine import devices, sft_step
from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.models import load_policy
from reasoning_lab.engine.specs import LoraSpec, ModelSpec
from reasoning_lab.engine.trainer import SFTTrainer, held_out_loss
from reasoning_lab.hardware.specs import HardwareSpec
from reasoning_lab.stages.specs import SFTSpec

ARCHITECTURES["gemma3_tiny"] = replace(ARCHITECTURES["gemma3_tiny"], num_layers=1)  # for speed
rng = np.random.default_rng(0)
examples = [
    TokenizedExample(rng.integers(1, 260, n).tolist(), 3, str(n)) for n in range(6, 20)
]
rows = PackedRows(examples, max_length=20, rows_per_batch=8, seed=0)
one = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("fsdp", "tp"))
results = []
for fsdp, tp in [(1, 1), (8, 1), (4, 2)]:
    hardware = HardwareSpec(
        platform="cpu", fsdp=fsdp, tp=tp, param_dtype="float32", remat=False,
        rows_per_micro_batch=1, generation_batch_size=1,
    )
    policy = load_policy(
        ModelSpec(architecture="gemma3_tiny", weights="random"),
        LoraSpec(rank=4, alpha=8.0, target_modules=("v_proj", "down_proj")),
        param_dtype="float32",
        mesh=one if fsdp * tp == 1 else devices.start(hardware),
        seed=0,
    )
    execution = Execution.on(policy.mesh, hardware)
    folder = Path(sys.argv[1]) / f"{fsdp}x{tp}"

    def trainer():
        return SFTTrainer(
            policy, SFTSpec(learning_rate=0.01, warmup_ratio=0.0), batch_fn=rows.batch,
            max_steps=2, micro_batches=8 // max(fsdp, 4), checkpoint_dir=folder,
            execution=execution,
        )

    records = []
    trained, programs = trainer(), sft_step.train_step._cache_size()
    trained.fit(lambda step, metrics: records.append(metrics))
    _, adam, _ = nnx.as_pure(trained.optimizer.opt_state)
    large = [x for x in jax.tree.leaves(policy.base) if x.size > 256]
    results.append({
        "records": records,
        "held_out": held_out_loss(policy, [rows.batch(0)], execution),
        "gradients": [np.asarray(x).ravel().tolist() for x in jax.tree.leaves(adam.mu)],
        "steps_in_checkpoint": trainer().train_steps,
        "programs": sft_step.train_step._cache_size() - programs,
        "shards": [sorted({s.data.size / x.size for s in x.addressable_shards}) for x in large],
        "holders": [len({s.device for s in x.addressable_shards}) for x in large],
    })
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN, str(tmp_path_factory.mktemp("checkpoints"))],
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8 "
            + os.environ.get("XLA_FLAGS", ""),
            "REASONING_LAB_CACHE": str(tmp_path_factory.mktemp("cache")),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("mesh", [1, 2], ids=["8x1", "4x2"])
def test_a_step_on_eight_devices_is_a_step_on_one(results: list[dict[str, Any]], mesh: int) -> None:
    single, sharded = results[0], results[mesh]
    assert len(single["records"]) == 2
    for expected, metrics in zip(single["records"], sharded["records"], strict=True):
        for name in expected:
            np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-5)
    np.testing.assert_allclose(sharded["held_out"], single["held_out"], rtol=1e-5)
    for ours, expected in zip(sharded["gradients"], single["gradients"], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert sharded["steps_in_checkpoint"] == 2
    assert sharded["programs"] == 1


@pytest.mark.parametrize("mesh", [1, 2], ids=["8x1", "4x2"])
def test_every_device_holds_an_eighth_of_every_large_weight(
    results: list[dict[str, Any]], mesh: int
) -> None:
    assert len(results[mesh]["shards"]) == 7
    assert all(shares == [1 / 8] for shares in results[mesh]["shards"])
    assert set(results[mesh]["holders"]) == {8}
