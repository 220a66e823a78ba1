"""Two processes that train together, on loopback, are one; the first of them writes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import compose
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import read_series
from reasoning_lab.runs.records import read_records
from reasoning_lab.runs.status import read_status
from reasoning_lab.stages import recipe
from tests.stages.conftest import REPOSITORY, XLA_FLAGS
from tests.stages.test_moved_runs import WORDS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # by Tunix
    pytest.mark.usefixtures("one_layer"),
]

EVALUATED = {"sft": "eval/loss", "grpo": "eval/reward"}
TWO = ("hardware.hosts=2", "hardware.fsdp=2", "stage.eval_every=2")

_ONE_OF_TWO = """
import json, sys
from dataclasses import replace
from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.experiment import compose
from reasoning_lab.plain_errors import plain_errors
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages import recipe

ARCHITECTURES["gemma3_tiny"] = replace(ARCHITECTURES["gemma3_tiny"], num_layers=1)  # for speed
root, words = sys.argv[1], json.loads(sys.argv[2])
with plain_errors():
    for stage, of_stage in words.items():
        recipe.run(compose([*of_stage, f"run_dir={root}/{stage}", "stop_at=3"]))
        recipe.resume(RunFolder.open(f"{root}/{stage}"))
"""


def start(number: int, port: int, root: Path, words: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _ONE_OF_TWO, str(root), json.dumps(words)],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "XLA_FLAGS": XLA_FLAGS,
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(number),
            "TMPDIR": str(root / f"passing_{number}"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def together(root: Path, words: Any) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of each of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for number in (0, 1):
        (root / f"passing_{number}").mkdir()
    processes = [start(number, port, root, words) for number in (0, 1)]
    try:
        said = [process.communicate(timeout=280) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *words) for p, words in zip(processes, said, strict=True)]


@pytest.fixture(scope="module")
def said(one_layer: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    root = tmp_path_factory.mktemp("together")
    return root, together(root, {name: [*words, *TWO] for name, words in WORDS.items()})


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_two_processes_are_one(stage: str, said: tuple[Path, list[Any]], tmp_path: Path) -> None:
    root, processes = said
    assert [status for status, *_ in processes] == [0, 0], processes
    alone = recipe.run(compose([*WORDS[stage], "stage.eval_every=2", f"run_dir={tmp_path}/a"]))
    both = RunFolder.open(root / stage)
    assert read_status(both.status_path).state == "done"
    for name, count in (("train/loss", 4), ("train/grad_norm", 4), (EVALUATED[stage], 2)):
        expected, found = (read_series(folder.metrics_path, name) for folder in (alone, both))
        assert len(expected) >= count
        assert [point.step for point in found] == [point.step for point in expected]
        np.testing.assert_allclose(
            [point.value for point in found],
            [point.value for point in expected],
            rtol=1e-4,
            atol=1e-6,
        )
    answers = [
        [line["completion"] for line in read_records(folder.samples_path)]
        for folder in (alone, both)
    ]
    assert answers[0] == answers[1]


def test_the_first_process_writes_and_the_other_says_nothing(said: tuple[Path, list[Any]]) -> None:
    root, [(_, output, _), (_, silence, _)] = said
    assert "going on from the checkpoint of step 3" in output
    assert "JAX sees 2 x cpu and uses all, as fsdp 2 x tp 1 on 2 hosts" in output
    assert all(line.startswith("[Gloo]") for line in silence.splitlines())
    assert not list((root / "passing_1").iterdir())
    for stage in WORDS:
        folder = RunFolder.open(root / stage)
        manifest = json.loads(folder.manifest_path.read_text())
        assert manifest["device"] == "2 x cpu"
        assert {path.name for path in folder.checkpoints_dir.iterdir()} >= {"3", "4"}
        assert not [path for path in folder.path.iterdir() if path.suffix == ".partial"]


def test_what_works_on_one_host_only_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"hardware\.hosts=2 must agree .* Add run_dir=PATH"):
        recipe.run(compose([*WORDS["sft"], *TWO]))
    words = [*WORDS["grpo"], *TWO, "stage@warm_start=sft", f"run_dir={tmp_path}/a"]
    with pytest.raises(ConfigError, match=r"hardware\.hosts=2: stage@warm_start works on one host"):
        recipe.run(compose(words))
    monkeypatch.setenv("JAX_NUM_PROCESSES", "3")
    words = [*WORDS["sft"], *TWO, f"run_dir={tmp_path}/a"]
    with pytest.raises(ConfigError, match=r"hardware\.hosts=2: JAX_NUM_PROCESSES=3 says otherwise"):
        recipe.run(compose(words))
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(ConfigError, match="must be whole numbers"):
        recipe.run(compose(words))
