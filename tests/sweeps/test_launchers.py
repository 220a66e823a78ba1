"""Real sweeps of the tiny model through every launcher that runs on one machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import read_status
from tests.stages.conftest import REPOSITORY, XLA_FLAGS

pytestmark = pytest.mark.slow

QUICK = ("-m", "experiment=quick_cpu", "sweep.name=s", "stage.max_steps=2", "evaluation.few_shot=0")
# As in docs/sweeps.md. Two runs at once, of a core each.
LAUNCHERS = {
    "basic": [],
    "warm": [],
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra.launcher.timeout_min=5"],
}
RAY = (
    "+hydra.launcher.ray.init.num_cpus=2",
    "+hydra.launcher.ray.init.object_store_memory=null",
    "+hydra.launcher.ray.init.include_dashboard=false",
)


def sweep(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python launch.py -m` in a folder, as a user would type it."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(REPOSITORY / "launch.py"), *QUICK, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "XLA_FLAGS": XLA_FLAGS, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def states(folder: Path) -> dict[str, str]:
    paths = sorted((folder / "runs/sweeps/s").glob("*/status.json"))
    return {path.parent.name: read_status(path).state for path in paths}


def check_a_whole_sweep(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr + done.stdout
    assert states(folder) == {"rank=2+seed=0": "done", "rank=4+seed=0": "done"}
    said = done.stdout
    assert "2 runs, 2 to do" in said
    assert "1/2 done rank=" in said
    assert "2/2 done rank=" in said
    assert "train 2/2" not in said  # that is in output.txt
    assert "Page: " in said
    sweep_dir = folder / "runs/sweeps/s"
    assert (sweep_dir / "comparison/index.html").exists()
    for name in states(folder):
        run = RunFolder(sweep_dir / name)
        assert "train 2/2" in run.output_path.read_text()
        assert run.report_path.exists()
    assert [path.name for path in folder.iterdir()] == ["runs"]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_makes_all_runs(launcher: str, tmp_path: Path) -> None:
    words = [f"hydra/launcher={launcher}", *LAUNCHERS[launcher]]
    check_a_whole_sweep(tmp_path, sweep(tmp_path, "lora.rank=2,4", *words))


def test_ray_makes_all_runs(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    words = ["lora.rank=2,4", "hydra/launcher=ray", *RAY]
    check_a_whole_sweep(tmp_path, sweep(tmp_path, *words, RAY_AUTH_MODE="disabled"))


@pytest.mark.parametrize("launcher", ["basic", "warm"])
def test_a_run_that_fails_stops_no_other(launcher: str, tmp_path: Path) -> None:
    """The second one has more steps than there are data for."""
    words = ["stage.max_steps=1,5000,2", f"hydra/launcher={launcher}", *LAUNCHERS[launcher]]
    done = sweep(tmp_path, *words)
    assert done.returncode == 1, done.stderr + done.stdout
    assert states(tmp_path) == {
        "max_steps=1+seed=0": "done",
        "max_steps=2+seed=0": "done",
        "max_steps=5000+seed=0": "failed",
    }
    assert "failed max_steps=5000+seed=0 at step 0: ConfigError: The planned steps" in done.stdout
    assert "1 of 3 runs did not end well" in done.stderr
    assert "data.allow_epochs=8" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "Page: " in done.stdout
