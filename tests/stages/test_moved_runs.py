"""A run may pause on one machine and go on on another: it learns what it would have learned."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import Experiment, compose, load
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.records import read_records
from reasoning_lab.runs.status import read_status
from reasoning_lab.stages import recipe
from tests.stages.conftest import REPOSITORY, XLA_FLAGS
from tests.stages.test_grpo_run import QUICK as GRPO

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # by Tunix
    pytest.mark.usefixtures("one_layer"),
]

_SMALL = ("evaluation.baseline=false", "evaluation.problems=2", "hardware.generation_batch_size=8")
WORDS = {
    "sft": ("experiment=quick_cpu", "stage.batch_tokens=2048", *_SMALL),
    "grpo": (*GRPO, "stage.eval_every=0", "stage.rollouts_every=1", *_SMALL),
}

_ON_EIGHT_DEVICES = """
import json, sys
from dataclasses import replace
from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.experiment import compose
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages import recipe

ARCHITECTURES["gemma3_tiny"] = replace(ARCHITECTURES["gemma3_tiny"], num_layers=1)  # for speed
root, words = sys.argv[1], json.loads(sys.argv[2])
for stage, of_stage in words.items():
    eight = ["hardware.fsdp=8", f"run_dir={root}/{stage}/from_eight"]
    recipe.run(compose([*of_stage, *eight, "stop_at=1"]))
    halves = ["hardware.fsdp=4", "hardware.tp=2", f"run_dir={root}/{stage}/from_eight"]
    recipe.run(compose([*of_stage, *halves, "stop_at=2"]))
    recipe.resume(RunFolder.open(f"{root}/{stage}/from_one"), ["hardware=cpu", *halves[:2]])
"""


def experiment(root: Path, stage: str, name: str, *words: str) -> Experiment:
    return compose([*WORDS[stage], f"run_dir={root}/{stage}/{name}", *words])


@pytest.fixture(scope="module")
def root(one_layer: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that stayed on one device, and runs that moved to eight or from there."""
    root = tmp_path_factory.mktemp("moved")
    for stage in WORDS:
        recipe.run(experiment(root, stage, "whole"))
        recipe.run(experiment(root, stage, "from_one", "stop_at=2"))
    flags = f"{XLA_FLAGS} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ON_EIGHT_DEVICES, str(root), json.dumps(WORDS)],
        cwd=REPOSITORY,
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in WORDS:
        recipe.run(experiment(root, stage, "from_eight"))
    return root


def steps(folder: RunFolder, *names: str) -> list[list[float]]:
    records = read_records(folder.metrics_path)
    return [[line[name] for name in names] for line in records if names[0] in line]


@pytest.mark.parametrize("name", ["from_one", "from_eight"])
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_run_that_moved_learned_the_same(root: Path, stage: str, name: str) -> None:
    whole, moved = (RunFolder.open(root / stage / one) for one in ("whole", name))
    assert read_status(moved.status_path).state == "done"
    names = ("train/loss", "train/grad_norm")
    assert len(steps(whole, *names)) == 4
    np.testing.assert_allclose(steps(moved, *names), steps(whole, *names), rtol=1e-4, atol=1e-6)
    if stage == "grpo":
        sampled = [
            [(line["step"], line["tokens"]) for line in read_records(folder.rollouts_path)]
            for folder in (whole, moved)
        ]
        assert len(sampled[0]) == 4 * 8
        assert sampled[0] == sampled[1]


def test_the_folder_says_where_a_run_was_and_goes_on(root: Path) -> None:
    folder = RunFolder.open(root / "sft" / "from_eight")
    places: list[dict[str, Any]] = json.loads(folder.manifest_path.read_text())["ran_on"]
    told = [(one["from_step"], one["device"], one["hardware"]["tp"]) for one in places]
    assert told == [(0, "8 x cpu", 1), (1, "8 x cpu", 2), (2, "1 x cpu", 1)]
    assert load(folder.config_path).hardware.devices == 1
    moved = RunFolder.open(root / "sft" / "from_one")
    assert load(moved.config_path).hardware.fsdp == 4
    assert load(moved.config_path).stop_at is None


def test_only_the_machine_can_change(root: Path) -> None:
    folder = RunFolder.open(root / "sft" / "whole")
    with pytest.raises(ConfigError, match=r"lora\.rank=2: only hardware=\.\.\. and hardware"):
        recipe.resume(folder, ["hardware=cpu", "lora.rank=2"])
    with pytest.raises(ConfigError, match=r"hardware\.fsp=2 .*Did you mean hardware\.fsdp"):
        recipe.resume(folder, ["hardware.fsp=2"])
    with pytest.raises(ConfigError, match=r"hardware\.fsdp=16 devices cannot share out evenly"):
        recipe.resume(folder, ["hardware.fsdp=16", "hardware.generation_batch_size=16"])
