"""What stands between Hydra and a sweep."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins.reasoning_lab_plugins import LabSweeper
from reasoning_lab.runs.status import read_status
from reasoning_lab.sweeps.plan import grid, read_request
from tests.stages.conftest import REPOSITORY
from tests.sweeps.fake_runs import write_run


def launch(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(REPOSITORY / "launch.py"), "-m", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_job_that_failed_before_its_run_began_is_a_failed_run(tmp_path: Path) -> None:
    """As on a machine that lacks something; launchers return such errors instead of raising."""
    words = ["experiment=quick_cpu", f"runs_dir={tmp_path}", "sweep.name=s", "lora.rank=2,4"]
    points = grid(read_request(words))

    def launched(jobs: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        write_run(points[1])
        lost, made = JobReturn(), JobReturn()
        lost.status, made.status = JobStatus.FAILED, JobStatus.COMPLETED
        lost.return_value = ImportError("no module named jax")
        return [lost, made]

    sweeper: Any = LabSweeper(params={})
    sweeper._launcher, sweeper._launched = SimpleNamespace(launch=launched), 0
    sweeper._launch(points)
    status = read_status(points[0].path / "status.json")
    assert (status.state, status.error) == ("failed", "ImportError: no module named jax")
    assert read_status(points[1].path / "status.json").state == "done"


def test_commands_are_written_and_nothing_is_run(tmp_path: Path) -> None:
    words = ("experiment=quick_cpu", "sweep.name=s", "lora.rank=2,4", "hydra/launcher=commands")
    machine = "hydra.launcher.machine.image=my/image:1"
    done = launch(tmp_path, *words, machine)
    assert done.returncode == 0, done.stderr
    sweep = tmp_path / "runs/sweeps/s"
    assert str(sweep / "commands/run.sh") in done.stdout
    assert "2 of 2 runs are still to begin" in done.stdout
    assert len((sweep / "commands/commands.txt").read_text().splitlines()) == 2
    assert "--docker-image=my/image:1" in (sweep / "commands/xpk.sh").read_text()
    assert not list(sweep.glob("*/status.json"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lora.rank=2,4", "hydra.launcher.machine.chip=4"], "machine.chips?"),
        (["lora.rank=2,4", "+hydra.launcher.machine.chip=4"], "unexpected keyword argument"),
        (["sweep=asha", "stage.eval_every=1", "lora.rank=2,4"], "commands makes no runs"),
    ],
)
def test_what_commands_cannot_do_is_told(words: list[str], told: str, tmp_path: Path) -> None:
    quick = ("experiment=quick_cpu", "sweep.name=s", "hydra/launcher=commands")
    done = launch(tmp_path, *quick, *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
