"""Runs in a process beside the sweep's own: what happens when either of them is stopped or dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import read_series
from reasoning_lab.runs.status import Status, read_status
from tests.stages.conftest import REPOSITORY, XLA_FLAGS
from tests.sweeps.ctrl_c import obeying_ctrl_c

# launch.py with runs that need no model. A process for runs is told of them by importing this.
FAKE = """
import os, signal, sys, time, types
from importlib.abc import MetaPathFinder
from pathlib import Path

recipe = types.ModuleType("reasoning_lab.stages.recipe")
sys.modules["reasoning_lab.stages.recipe"] = recipe
import reasoning_lab.stages
reasoning_lab.stages.recipe = recipe

from reasoning_lab.experiment import to_yaml
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.sweeps.plan import Point
from tests.sweeps.fake_runs import write_run

def run(experiment):
    folder = RunFolder.at(experiment.run_dir)
    folder.config_path.write_text(to_yaml(experiment), "utf-8")
    how = experiment.name or ""
    if experiment.lora.rank == 4 and how.startswith("dies"):
        print("the last words", flush=True)
        if "early" not in how:
            folder.status().__enter__()
        os._exit(7) if "exit" in how else os.kill(os.getpid(), signal.SIGKILL)
    if how == "waits":
        with folder.status() as status:
            status.update(1, 4)
            time.sleep(60)
    write_run(Point(folder.path, {}, (), experiment))

recipe.run = run

class SlowImport(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "reasoning_lab.sweeps.job":
            Path(os.environ["SLOW_IMPORT"]).write_text(str(os.getpid()))
            time.sleep(1.5)

class NoImport(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "reasoning_lab.sweeps.job":
            os._exit(5)

if __name__ == "__mp_main__":
    if "SLOW_IMPORT" in os.environ:
        sys.meta_path.insert(0, SlowImport())
    if "NO_IMPORT" in os.environ:
        sys.meta_path.insert(0, NoImport())
if __name__ == "__main__":
    import launch
    launch.main()
"""
QUICK = ("-m", "experiment=quick_cpu", "sweep.name=s")


class Sweep:
    """A sweep in a folder, begun as from a terminal: Ctrl-C reaches it, and it alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "fake_launch.py"
        self.script.write_text(FAKE)

    def start(self, *words: str, script: Path | None = None, **more: str) -> subprocess.Popen[str]:
        path = f"{REPOSITORY}"
        command = [sys.executable, "-W", "ignore", str(script or self.script), *QUICK, *words]
        return subprocess.Popen(
            obeying_ctrl_c(command),
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path, "XLA_FLAGS": XLA_FLAGS, "COLUMNS": "100"} | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        with self.start(*words, **environment) as process:
            output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def path(self, rank: int) -> RunFolder:
        return RunFolder(self.folder / f"runs/sweeps/s/rank={rank}+seed=0")

    def status(self, rank: int) -> Status:
        return read_status(self.path(rank).status_path)


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def test_all_runs_share_one_process(sweep: Sweep) -> None:
    code, output = sweep.run("lora.rank=2,4")
    assert code == 0, output
    first, second = sweep.status(2), sweep.status(4)
    assert (first.state, second.state) == ("done", "done")
    assert first.pid == second.pid
    assert not is_alive(first.pid)


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("dies-killed", "The process was killed (SIGKILL), as it is when the machine runs out"),
        ("dies-early-exit", "The process ended with exit status 7."),
    ],
)
def test_a_run_that_dies_takes_no_other_along(sweep: Sweep, how: str, cause: str) -> None:
    code, output = sweep.run("lora.rank=2,4,8", f"name={how}")
    assert code == 1, output
    states = {rank: sweep.status(rank) for rank in (2, 4, 8)}
    assert [one.state for one in states.values()] == ["done", "failed", "done"]
    assert (states[4].error or "").startswith(cause)
    assert states[4].traceback == "the last words"
    assert states[2].pid != states[8].pid
    assert "1 of 3 runs did not end well" in output
    assert f"rank=4+seed=0: failed {cause}" in output
    assert "Traceback" not in output


def test_a_process_that_does_not_even_begin_is_told(sweep: Sweep) -> None:
    code, output = sweep.run("lora.rank=2,4", NO_IMPORT="1")
    assert code == 1, output
    for rank in (2, 4):
        assert sweep.status(rank).error == "The process ended with exit status 5."
    assert "Traceback" not in output


def test_ctrl_c_saves_the_run_and_the_same_command_goes_on(sweep: Sweep) -> None:
    with sweep.start("lora.rank=2,4", "name=waits") as process:
        wait_for(sweep.path(2).status_path.exists)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert sweep.status(2).state == "interrupted"
    assert not sweep.path(4).status_path.exists()
    assert "Stopped: 0 of 2 done, 1 interrupted. The same command goes on." in output
    assert "Traceback" not in output
    assert not is_alive(sweep.status(2).pid)


def test_ctrl_c_of_a_terminal_reaches_the_run_once(sweep: Sweep) -> None:
    """A terminal sends it to all processes; the second one would keep a run from saving."""
    with sweep.start("lora.rank=2,4", "name=waits") as process:
        wait_for(sweep.path(2).status_path.exists)
        run = sweep.status(2).pid
        assert os.getpgid(run) != os.getpgid(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert sweep.status(2).state == "interrupted"


def test_a_run_whose_sweep_was_killed_saves_and_ends(sweep: Sweep) -> None:
    with sweep.start("lora.rank=2,4", "name=waits") as process:
        wait_for(sweep.path(2).status_path.exists)
        process.kill()
    wait_for(lambda: not is_alive(sweep.status(2).pid))
    assert sweep.status(2).state == "interrupted"
    assert not sweep.path(4).path.exists()


def test_no_run_begins_after_its_sweep_was_killed(sweep: Sweep, tmp_path: Path) -> None:
    """Not even one that was asked for while JAX was being imported."""
    begun = tmp_path / "begun"
    with sweep.start("lora.rank=2,4", SLOW_IMPORT=str(begun)) as process:
        wait_for(lambda: begun.exists() and begun.read_text() != "")
        process.kill()
    wait_for(lambda: not is_alive(int(begun.read_text())))
    assert not sweep.path(2).path.exists()


@pytest.mark.slow  # half a minute
def test_a_real_run_that_was_stopped_goes_on(sweep: Sweep) -> None:
    """tests/stages/test_recipe.py shows that what is recorded then is the same, bit for bit."""
    words = ("lora.rank=2,4", "stage.max_steps=40", "evaluation.baseline=false")
    metrics = sweep.path(2).metrics_path
    launch = REPOSITORY / "launch.py"
    with sweep.start(*words, script=launch) as process:
        wait_for(lambda: metrics.exists() and metrics.read_text().count("train/loss") >= 5, 100)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert sweep.status(2).state == "interrupted"
    assert "python -m reasoning_lab resume" in sweep.path(2).output_path.read_text()
    with sweep.start(*words, script=launch) as process:
        output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "2 runs, 2 to do, 1 to go on with" in output
    assert "going on from the checkpoint of step" in sweep.path(2).output_path.read_text()
    for rank in (2, 4):
        assert sweep.status(rank).state == "done"
        series = read_series(sweep.path(rank).metrics_path, "train/loss")
        assert [point.step for point in series] == list(range(1, 41))
    assert sweep.status(2).pid == sweep.status(4).pid
