"""Online runs, against a W&B server on loopback that takes what it is sent and keeps it."""

import logging
import os
import time
from pathlib import Path

import pytest
from conftest import forget_wandb
from fake_server import FakeServer, wandb_command

from reasoning_lab.tracking import weights_and_biases
from reasoning_lab.tracking.identity import identify
from reasoning_lab.tracking.specs import TrackingSpec
from reasoning_lab.tracking.tracker import open_tracker

SPEC = TrackingSpec(wandb=True, group="grid", tags=("a", "b"))


def test_with_a_key_everything_reaches_the_server(
    run_dir: Path, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="reasoning_lab")
    with open_tracker(SPEC, run_dir, {"seed": 7, "lora": {"rank": 8}}, job_type="sft") as tracker:
        for step in (10, 20):
            tracker.log(step, {"train/loss": 1 / step})
        tracker.samples(20, [{"question": "1 + 1", "completion": "2"}])
        tracker.summary({"correct": 0.75})

    [(id, run)] = server.runs.items()
    assert id == identify(run_dir).id
    assert f"W&B: {server.url}/me/reasoning_lab/runs/{id}" in caplog.messages
    assert [row["step"] for row in run.history] == [10, 20]
    assert [row["train/loss"] for row in run.history] == [0.1, 0.05]
    assert run.history[-1]["samples"]["nrows"] == 1
    assert any("media/table/samples" in path for path in server.uploads)
    assert run.exit_code == 0
    assert run.config == {"lora.rank": 8, "seed": 7, "stage": "sft", "run_id": run_dir.name}
    assert (run.created["groupName"], run.created["jobType"]) == ("grid", "sft")
    assert (run.created["displayName"], run.created["tags"]) == (run_dir.name, ["a", "b"])


def test_a_server_that_dies_costs_no_step_and_delays_the_end_by_the_time_allowed(
    run_dir: Path,
    server: FakeServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights_and_biases, "_SECONDS_TO_UPLOAD_AT_END", 1)
    steps = range(1, 1000)
    with open_tracker(SPEC, run_dir, {}, job_type="sft") as tracker:
        server.stop()
        for step in steps:
            tracker.log(step, {"train/loss": 1.0})
        started = time.monotonic()
    assert time.monotonic() - started < 30  # a minute, if it were not for the line above
    [kept] = run_dir.parent.glob("wandb/run-*")
    [trouble] = [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and record.name.startswith("reasoning_lab")
    ]
    assert trouble.endswith(f"wandb sync --include-online {os.path.relpath(kept)}")

    forget_wandb()  # as if the machine were switched off
    again = FakeServer(server.server_port)
    again.start()
    wandb_command(run_dir.parent, "sync", "--include-online", str(kept))
    again.stop()
    [run] = again.runs.values()
    assert [row["step"] for row in run.history] == list(steps)


def test_a_slow_server_costs_no_step(run_dir: Path, server: FakeServer) -> None:
    with open_tracker(SPEC, run_dir, {}, job_type="sft") as tracker, server.lock:
        for step in range(1, 1000):  # while nothing is answered
            tracker.log(step, {"train/loss": 1.0})
    [run] = server.runs.values()
    assert [row["step"] for row in run.history] == list(range(1, 1000))


def test_a_server_that_refuses_means_offline(
    run_dir: Path, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuses = True
    with open_tracker(SPEC, run_dir, {}, job_type="sft") as tracker:
        tracker.log(1, {"train/loss": 1.0})
    assert any("recording offline" in message for message in caplog.messages)
    assert len(list(run_dir.parent.glob("wandb/offline-run-*"))) == 1
