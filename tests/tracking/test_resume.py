"""Runs that are killed and go on are one W&B run, in which each step stands once."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import history_of, parse_log
from fake_server import FakeServer, wandb_command

from reasoning_lab.tracking.identity import identify
from reasoning_lab.tracking.specs import TrackingSpec
from reasoning_lab.tracking.tracker import open_tracker

# What a stage does: metrics to metrics.jsonl and to the tracker, held-out metrics at even steps.
_TRAIN = """
import sys
from pathlib import Path
from reasoning_lab.runs.metrics import MetricsWriter
from reasoning_lab.runs.records import read_records
from reasoning_lab.tracking.specs import TrackingSpec
from reasoning_lab.tracking.tracker import open_tracker

run_dir, resume_step, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
path = run_dir / "metrics.jsonl"
spec = TrackingSpec(wandb=True, group="grid")
with open_tracker(
    spec, run_dir, {"lora": {"rank": 8}}, job_type="grpo", runs_dir=run_dir.parents[2],
    resume_step=resume_step or None, history=read_records(path),
) as tracker, MetricsWriter(path, resume_step=resume_step) as metrics:
    def log(step, values):
        metrics.log(step, values)
        tracker.log(step, values)
    for step in range(resume_step + 1, last + 1):
        log(step, {"reward/total": step / 8})
        if step % 2 == 0:
            log(step, {"eval/score": step / 16})
    if sys.argv[4:]:
        print("ready", flush=True)
        sys.stdin.readline()
    tracker.summary({"grpo/all/correct": 0.5})
    tracker.samples(last, [{"question": "1 + 1", "correct": True}])
"""

FULL = [
    {"step": step, "reward/total": step / 8} | ({} if step % 2 else {"eval/score": step / 16})
    for step in range(1, 11)
]

Train = Callable[..., None]


@pytest.fixture
def sweep_run(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "sweeps" / "grid" / "lora.rank=8,seed=0"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def train(sweep_run: Path) -> Iterator[Train]:
    """Trains from a checkpoint to a last step in a process of its own, which may be killed."""
    groups = []

    def train(resume_step: int, last: int, *, kill_when: Callable[[], bool] | None = None) -> None:
        command = [sys.executable, "-c", _TRAIN, str(sweep_run), str(resume_step), str(last)]
        command += ["wait"] if kill_when else []
        program = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        groups.append(program.pid)
        with program:
            assert program.stdout is not None
            if kill_when:
                assert program.stdout.readline() == b"ready\n"
                wait_for(kill_when)
                os.killpg(program.pid, signal.SIGKILL)  # wandb's own process too, like a machine
        assert program.returncode == (-signal.SIGKILL if kill_when else 0)

    yield train
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("what was waited for did not happen in a minute")


def rows(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The history without tables."""
    return [{k: row[k] for k in row if k.split(".")[0] != "samples"} for row in history]


@pytest.mark.parametrize("arrived", [0, 3, 7])
def test_online_a_killed_run_continues_its_curve(
    sweep_run: Path, server: FakeServer, train: Train, arrived: int
) -> None:
    train(0, 8, kill_when=lambda: True)
    [run] = server.runs.values()
    run.lines = [json.dumps({**row, "_step": row["step"]}) for row in FULL[:arrived]]
    train(4, 10)  # the checkpoint: steps 5 to 8 are taken again
    assert list(server.runs) == [identify(sweep_run).id]
    assert rows(run.history) == FULL
    assert "samples" in run.history[-1]
    assert run.exit_code == 0
    assert [name for name, _ in server.queries].count("RunResumeStatus") == 1


def test_online_a_run_that_had_only_its_end_to_do_still_sends_its_samples(
    sweep_run: Path, server: FakeServer, train: Train
) -> None:
    train(0, 10)
    [run] = server.runs.values()
    run.lines[-1] = json.dumps({**FULL[-1], "_step": 10})  # killed before the samples came
    train(10, 10)
    assert rows(run.history)[:10] == FULL
    [samples] = run.history[10:]
    assert (samples["step"], samples["samples"]["nrows"]) == (10, 1)


def test_offline_a_killed_run_is_one_folder_with_the_whole_curve(
    sweep_run: Path, train: Train, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(0, 8, kill_when=lambda: True)
    train(4, 9, kill_when=lambda: True)
    train(6, 10)
    wandb_dir = sweep_run.parents[2] / "wandb"
    [kept] = wandb_dir.glob("offline-run-*")
    [path] = kept.glob("*.wandb")
    assert rows(history_of(parse_log(path.read_bytes()))) == FULL
    assert len(list(wandb_dir.glob("superseded-offline-run-*"))) == 2

    monkeypatch.delenv("WANDB_MODE")
    synced = wandb_command(wandb_dir.parent, "sync", "--yes")
    assert "Syncing 1 run" in synced
    [(id, run)] = server.runs.items()
    assert id == identify(sweep_run).id
    assert rows(run.history) == FULL
    assert "samples" in run.history[-1]
    assert run.config["lora.rank"] == 8
    assert (run.created["groupName"], run.created["displayName"]) == ("grid", sweep_run.name)


def test_a_run_that_is_paused_and_goes_on_in_one_process_is_one_run(run_dir: Path) -> None:
    history: list[dict[str, float]] = []
    for resume_step in (0, 2, 4):
        with open_tracker(
            TrackingSpec(wandb=True),
            run_dir,
            {},
            job_type="sft",
            resume_step=resume_step,
            history=history,
        ) as tracker:
            for step in (resume_step + 1, resume_step + 2):
                tracker.log(step, {"train/loss": 1 / step})
                history.append({"step": step, "time": 0.0, "train/loss": 1 / step})
    [path] = run_dir.parent.glob("wandb/offline-run-*/*.wandb")
    wait_for(lambda: any(record.HasField("exit") for record in parse_log(path.read_bytes())))
    told = history_of(parse_log(path.read_bytes()))
    assert told == [{"step": step, "train/loss": 1 / step} for step in range(1, 7)]


def test_a_run_begun_offline_goes_on_online_as_a_whole(
    sweep_run: Path, train: Train, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(0, 8, kill_when=lambda: True)
    monkeypatch.delenv("WANDB_MODE")
    train(4, 10)
    [run] = server.runs.values()
    assert rows(run.history) == FULL
    assert not list(sweep_run.parents[2].glob("wandb/offline-run-*"))


@pytest.mark.slow  # wandb sends every 15 seconds
def test_a_server_that_dies_in_the_middle_costs_no_step(
    sweep_run: Path, train: Train, server: FakeServer
) -> None:
    def dies() -> bool:
        if has_arrived := sum(len(run.lines) for run in server.runs.values()) >= 3:
            server.stop()
        return has_arrived

    train(0, 8, kill_when=dies)
    again = FakeServer(server.server_port)
    again.runs = server.runs
    again.start()
    train(4, 10)
    again.stop()
    [run] = again.runs.values()
    assert rows(run.history) == FULL
