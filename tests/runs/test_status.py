import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.runs import status as status_module
from reasoning_lab.runs.status import read_status, recording_status


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


def test_a_run_is_running_and_then_done(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "_SECONDS_BETWEEN_WRITES", 0.0)
    with recording_status(path) as status:
        assert read_status(path).state == "running"
        status.update(3, max_steps=10)
        running = read_status(path)
        assert (running.state, running.step, running.max_steps) == ("running", 3, 10)
        status.update(10)
    done = read_status(path)
    assert (done.state, done.step, done.max_steps) == ("done", 10, 10)
    assert done.ended is not None
    assert done.ended >= done.started
    assert (done.error, done.traceback) == (None, None)


def test_steps_reach_the_file_at_most_once_a_second_but_the_last_one_does(path: Path) -> None:
    with recording_status(path) as status:
        for step in range(1, 200):
            status.update(step)
        assert read_status(path).step < 199
    assert read_status(path).step == 199


def test_a_failure_is_recorded_with_its_traceback_and_passes_through(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), recording_status(path):
        _ = 1 / 0
    failed = read_status(path)
    assert failed.state == "failed"
    assert failed.error == "ZeroDivisionError: division by zero"
    assert failed.traceback is not None
    assert "_ = 1 / 0" in failed.traceback


def test_ctrl_c_is_an_interruption_not_a_failure(path: Path) -> None:
    def train() -> None:
        with recording_status(path) as status:
            status.update(4)
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            train()
    finally:
        signal.signal(signal.SIGINT, before)
    interrupted = read_status(path)
    assert (interrupted.state, interrupted.step, interrupted.error) == ("interrupted", 4, None)


def test_a_full_disk_does_not_hide_why_the_run_failed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def train() -> None:
        with recording_status(path):
            monkeypatch.setattr(os, "fsync", full)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError) as caught:
        train()
    assert "could not be recorded" in caught.value.__notes__[0]
    assert read_status(path).state == "running"  # the last state that could be written, whole


_RUN_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from reasoning_lab.runs.status import recording_status
with recording_status(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_reads_as_killed(path: Path) -> None:
    command = [sys.executable, "-c", _RUN_UNTIL_KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert read_status(path).state == "running"
        with pytest.raises(ConfigError, match=rf"written by process {process.pid}"):
            recording_status(path).__enter__()
        process.kill()
        while (now := read_status(path)).state == "running":  # a zombie until it is waited for
            time.sleep(0.01)
    assert now.state == read_status(path).state == "killed"
    with recording_status(path):  # and may be resumed
        pass
    assert read_status(path).state == "done"


def _write_running(path: Path, **changes: object) -> None:
    with recording_status(path):
        running = read_status(path)
    path.write_text(json.dumps({**asdict(running), **changes}))


def test_another_process_with_the_same_number_is_not_the_run(path: Path) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("no /proc on this system: processes are told apart by number only")
    _write_running(path, process_start=12345)
    assert read_status(path).state == "killed"


def test_a_process_of_another_machine_is_believed_and_never_blocks(path: Path) -> None:
    _write_running(path, host=socket.gethostname() + "-other", pid=2**22 + 1)
    assert read_status(path).state == "running"
    with recording_status(path):  # the folder was copied here to go on
        pass
    assert read_status(path).state == "done"
