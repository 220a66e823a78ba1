"""What a run's folder says about it, in whatever state it was left."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import MetricsWriter
from reasoning_lab.runs.status import StatusWriter, mark_failed, read_status
from reasoning_lab.sweeps.state import RunState, read_state


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.at(tmp_path / "rank=2+seed=0")


def log(folder: RunFolder, step: int, **values: float) -> None:
    named = {name.replace("_", "/", 1): value for name, value in values.items()}
    with MetricsWriter(folder.metrics_path) as metrics:
        metrics.log(step, named)


def test_a_run_without_a_folder_waits(tmp_path: Path) -> None:
    assert read_state(RunFolder(tmp_path / "a")) == RunState("a", "waiting")
    assert not (tmp_path / "a").exists()


def test_a_run_that_has_said_something_is_starting(folder: RunFolder) -> None:
    assert read_state(folder).state == "waiting"
    folder.output_path.write_text("")
    assert read_state(folder).state == "starting"


def test_a_run_that_goes_on_says_how_far_it_is_and_how_long_it_takes(folder: RunFolder) -> None:
    status = StatusWriter(folder.status_path)
    for step in range(1, 13):  # the first four were slow
        log(folder, step, train_loss=1 / step, train_seconds=100.0 if step <= 4 else 2.0)
    status._written = 0.0
    status.update(12, 20)
    state = read_state(folder)
    assert (state.name, state.state) == ("rank=2+seed=0", "running")
    assert (state.step, state.max_steps) == (12, 20)
    assert state.seconds_left == pytest.approx(8 * 2.0)
    assert state.headline == ("train/loss", pytest.approx(1 / 12))
    assert not state.has_ended


def test_a_run_that_has_recorded_nothing_yet_has_no_pace(folder: RunFolder) -> None:
    StatusWriter(folder.status_path).update(0, 20)
    assert read_state(folder).seconds_left is None
    assert read_state(folder).headline is None


def test_a_run_that_is_done_has_no_seconds_left(folder: RunFolder) -> None:
    with folder.status() as status:
        status.update(4, 4)
        log(folder, 4, time_step=1.0, eval_score=0.25)
        log(folder, 4, reward_total=0.5)
    state = read_state(folder)
    assert (state.state, state.seconds_left) == ("done", None)
    assert state.headline == ("eval/score", 0.25)  # rather than the newer reward
    assert state.has_ended


def test_a_process_that_is_gone_is_noticed(folder: RunFolder) -> None:
    StatusWriter(folder.status_path)
    status = read_status(folder.status_path)
    gone = replace(status, process_start=(status.process_start or 0) + 1)
    folder.status_path.write_text(json.dumps(asdict(gone)))
    assert read_state(folder).state == "killed"


def test_a_failure_is_read_with_its_reason(folder: RunFolder) -> None:
    mark_failed(folder.status_path, "DiskFullError: The disk is full", "")
    state = read_state(folder)
    assert (state.state, state.error) == ("failed", "DiskFullError: The disk is full")
    assert state.has_ended
    assert state.ran_out_of_disk
    assert not RunState("a", "failed", error="ValueError: DiskFullError").ran_out_of_disk


def test_a_line_that_is_being_written_is_left_out(folder: RunFolder) -> None:
    StatusWriter(folder.status_path).update(2, 4)
    log(folder, 1, train_loss=0.5, train_seconds=3.0)
    with folder.metrics_path.open("a") as file:
        file.write('{"step": 2, "train/loss": 0.')
    assert read_state(folder).headline == ("train/loss", 0.5)


def test_only_the_end_of_a_huge_file_is_read(folder: RunFolder) -> None:
    StatusWriter(folder.status_path).update(2, 4)
    log(folder, 1, eval_score=0.5)
    with folder.metrics_path.open("ab") as file:
        file.truncate(1 << 28)  # a hole takes no room
        file.seek(0, 2)
        file.write(b'\n{"step": 2, "train/loss": 0.125, "train/seconds": 2}\n')
    assert read_state(folder).headline == ("train/loss", 0.125)


def test_numbers_that_are_not_finite_do_no_harm(folder: RunFolder) -> None:
    StatusWriter(folder.status_path).update(1, 4)
    log(folder, 1, train_loss=float("inf"), train_seconds=float("nan"))
    assert read_state(folder).headline == ("train/loss", float("inf"))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "{}", '{"state": "done"}', "\0"])
def test_a_status_that_cannot_be_read_is_named(folder: RunFolder, text: str) -> None:
    folder.status_path.write_text(text)
    state = read_state(folder)
    assert state.state == "unreadable"
    assert str(folder.status_path) in (state.error or "")
