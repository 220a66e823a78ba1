"""One run of a sweep: where its output goes, and that its failure stays with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning_lab.experiment import Experiment, compose
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import read_status
from reasoning_lab.stages import recipe
from reasoning_lab.sweeps import job
from tests.stages.conftest import REPOSITORY


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return compose(["experiment=quick_cpu", f"run_dir={tmp_path}/a", f"runs_dir={tmp_path}"])


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "a")


def use_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write to 1 and 2, as programs do; the streams of pytest write to files of their own."""
    monkeypatch.setattr(sys, "stdout", os.fdopen(1, "w", closefd=False))
    monkeypatch.setattr(sys, "stderr", os.fdopen(2, "w", closefd=False))


def test_all_output_goes_to_a_file_and_back(
    experiment: Experiment,
    folder: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def run(experiment: Experiment) -> None:
        print("from Python", flush=True)
        print("an error", file=sys.stderr, flush=True)
        os.write(1, b"from native code\n")
        os.write(2, b"an error from there\n")
        subprocess.run(["echo", "from a child"], check=True)

    use_descriptors(monkeypatch)
    monkeypatch.setattr(recipe, "run", run)
    print("before")
    job.run(experiment)
    print("after", flush=True)
    os.write(2, b"and so\n")
    assert capfd.readouterr() == ("before\nafter\n", "and so\n")
    assert folder.output_path.read_text().splitlines() == [
        *("from Python", "an error", "from native code", "an error from there", "from a child")
    ]
    job.run(experiment)
    assert folder.output_path.read_text().count("from a child") == 2


def fails(error: BaseException) -> object:
    def run(experiment: Experiment) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no luck"), "ValueError: no luck"),
        (SystemExit(3), "SystemExit: 3"),
        (MemoryError(), "MemoryError: "),
    ],
)
def test_a_failure_stays_with_its_run(
    experiment: Experiment,
    folder: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: BaseException,
    told: str,
) -> None:
    use_descriptors(monkeypatch)
    monkeypatch.setattr(recipe, "run", fails(error))
    job.run(experiment)
    status = read_status(folder.status_path)
    assert (status.state, status.error) == ("failed", told)
    assert "Traceback" in (status.traceback or "")
    assert "Traceback" in folder.output_path.read_text()
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_is_no_failure(
    experiment: Experiment,
    folder: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    use_descriptors(monkeypatch)
    monkeypatch.setattr(recipe, "run", fails(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        job.run(experiment)
    assert not folder.status_path.exists()
    print("back", flush=True)
    assert capfd.readouterr().out == "back\n"


def test_a_mistake_found_while_running_is_put_down(tmp_path: Path, folder: RunFolder) -> None:
    words = [f"run_dir={folder.path}", f"runs_dir={tmp_path}"]
    words += ["data=table", f"data.sources.table.path={tmp_path}/none.jsonl"]
    job.run(compose(["experiment=quick_cpu", *words]))
    status = read_status(folder.status_path)
    assert status.state == "failed"
    assert "none.jsonl does not exist" in (status.error or "")
    assert "Traceback" in (status.traceback or "")


def test_a_failure_is_put_down_even_if_there_is_no_room_for_what_is_said(
    experiment: Experiment,
    folder: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    RunFolder.at(folder.path)
    folder.output_path.symlink_to("/dev/full")

    def run(experiment: Experiment) -> None:
        os.write(1, b"this does not fit")

    use_descriptors(monkeypatch)
    monkeypatch.setattr(recipe, "run", run)
    job.run(experiment)
    status = read_status(folder.status_path)
    assert status.state == "failed"
    assert "No space left" in (status.error or "")
    print("back", flush=True)
    assert capfd.readouterr().out == "back\n"


AT_WORK = """
import sys
from pathlib import Path
from reasoning_lab.runs.folder import RunFolder
with RunFolder.at(sys.argv[1]).status():
    print("at work", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_another_process_is_at_is_left_to_it(
    experiment: Experiment, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a sweep was killed and begun again before its last run had saved."""
    use_descriptors(monkeypatch)
    with subprocess.Popen(
        [sys.executable, "-c", AT_WORK, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        job.run(experiment)
        status = read_status(folder.status_path)
        assert (status.state, status.pid) == ("running", other.pid)
        assert "is being written by process" in folder.output_path.read_text()
        other.communicate()
    assert read_status(folder.status_path).state == "done"


def test_a_damaged_status_is_replaced(experiment: Experiment, folder: RunFolder) -> None:
    RunFolder.at(folder.path).status_path.write_text("{")
    job.run(experiment)
    assert read_status(folder.status_path).state == "failed"
