import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_server import KEY

from reasoning_lab.config import ConfigError
from reasoning_lab.tracking import weights_and_biases
from reasoning_lab.tracking.identity import Identity, identify
from reasoning_lab.tracking.specs import TrackingSpec
from reasoning_lab.tracking.tracker import open_tracker

SPEC = TrackingSpec(wandb=True)

Read = Callable[[Path], list[Any]]
Said = Callable[[], list[str]]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    """Our own messages so far; wandb's are not shown to the user."""
    caplog.set_level(logging.INFO, logger="reasoning_lab")

    def messages() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.name.startswith("reasoning_lab")]

    return messages


def test_without_a_key_the_run_is_kept_on_disk_and_one_line_says_so(
    run_dir: Path,
    read_offline: Read,
    offline_history: Read,
    said: Said,
    capfd: pytest.CaptureFixture[str],
) -> None:
    spec = TrackingSpec(wandb=True, project="lab", group="g", tags=("a", "b"))
    config = {
        "lora": {"_target_": "x.LoraSpec", "rank": 4, "target_modules": ["q_proj", "v_proj"]},
        "data": {"sources": {"sums": {"rows": 2}, "stories": {"rows": None}}},
        "reward": {},
        "seed": 0,
        "tracking": {"tags": ["a", "b"]},
    }
    with open_tracker(spec, run_dir, config, job_type="sft") as tracker:
        for step in (10, 20):
            tracker.log(step, {"train/loss": 1 / step})
        tracker.log(20, {"eval/loss": 0.5})
        tracker.summary({"correct": 0.9375})

    [line] = said()
    [kept] = run_dir.parent.glob("wandb/offline-run-*")
    assert line == f"W&B: offline; upload with: wandb sync {os.path.relpath(kept)}"
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""

    assert offline_history(run_dir.parent) == [
        {"step": 10, "train/loss": 0.1},
        {"step": 20, "train/loss": 0.05, "eval/loss": 0.5},
    ]
    records = read_offline(run_dir.parent)
    [run] = [record.run for record in records if record.HasField("run")]
    assert run.run_id.startswith(f"{run_dir.name}-")
    assert (run.display_name, run.project, run.run_group) == (run_dir.name, "lab", "g")
    assert (run.job_type, list(run.tags)) == ("sft", ["a", "b"])
    sent = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {key: value for key, value in sent.items() if not key.startswith("_")} == {
        "data": "sums,stories",
        "data.sources.sums.rows": 2,
        "data.sources.stories.rows": None,
        "lora.rank": 4,
        "lora.target_modules": "q_proj,v_proj",
        "run_id": run_dir.name,
        "seed": 0,
        "stage": "sft",
    }
    axes = {r.metric.glob_name: r.metric.step_metric for r in records if r.HasField("metric")}
    assert axes["*"] == "step"
    summaries = [
        (item.key, item.value_json)
        for record in records
        if record.HasField("summary")
        for item in record.summary.update
    ]
    assert ("correct", "0.9375") in summaries
    [end] = [record.exit for record in records if record.HasField("exit")]
    assert end.exit_code == 0


def test_samples_are_a_table_that_stays_among_the_runs(
    run_dir: Path, offline_history: Read, wandb_environment: Path
) -> None:
    rows: list[dict[str, str | bool]] = [
        {"question": "1 + 1", "completion": "<answer>2</answer>", "correct": True},
        {"question": "2 + 2", "completion": "5", "correct": False},
    ]
    with open_tracker(SPEC, run_dir, {}, job_type="sft") as tracker:
        tracker.samples(20, rows)
    [row] = offline_history(run_dir.parent)
    assert row["step"] == 20
    [table] = run_dir.parent.glob("wandb/offline-run-*/files/media/table/*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["question", "completion", "correct"]
    assert content["data"] == [list(sample.values()) for sample in rows]
    at_home = [path for path in wandb_environment.rglob("*") if path.is_file()]
    assert all(path.suffix == ".log" for path in at_home)  # nothing a moved folder would miss


def test_a_table_that_wandb_refuses_stops_nothing(run_dir: Path, said: Said) -> None:
    with open_tracker(SPEC, run_dir, {}, job_type="sft") as tracker:
        tracker.samples(1, [{"correct": True}, {"correct": "perhaps"}])
        tracker.log(2, {"loss": 1.0})
    assert any("metrics.jsonl goes on" in message for message in said())


def test_runs_of_one_process_do_not_mix(run_dir: Path) -> None:
    other = run_dir.with_name("20261121-225502-sft-gemma3_tiny")
    other.mkdir()
    for path in (run_dir, other):
        with open_tracker(SPEC, path, {}, job_type="sft") as tracker:
            tracker.log(1, {"loss": 1.0})
    kept = [path.name for path in run_dir.parent.glob("wandb/offline-run-*")]
    assert len(kept) == 2
    assert any(run_dir.name in name for name in kept)
    assert any(other.name in name for name in kept)


def test_runs_of_sweeps_share_the_folder_but_no_id(tmp_path: Path) -> None:
    runs_dir, ids = tmp_path / "runs", set()
    for sweep in ("one", "two"):
        path = runs_dir / "sweeps" / sweep / "lora.rank=8,stage.beta=0.02,seed=0"
        path.mkdir(parents=True)
        with open_tracker(SPEC, path, {}, job_type="grpo", runs_dir=runs_dir) as tracker:
            tracker.log(1, {"loss": 1.0})
        ids.add(identify(path).id)
    assert len(ids) == 2
    assert all(re.fullmatch(r"lora\.rank-8-stage\.beta-0\.02-seed-0-\w{6}", id) for id in ids)
    kept = [path.name for path in runs_dir.glob("wandb/offline-run-*")]
    assert len(kept) == 2
    assert not list(tmp_path.glob("runs/sweeps/**/wandb"))


def test_an_id_moves_with_the_folder_and_a_torn_note_of_it_is_forgotten(run_dir: Path) -> None:
    first = identify(run_dir)
    assert not first.is_known
    moved = run_dir.rename(run_dir.parent / "moved")
    assert identify(moved) == Identity(first.id, is_known=True)
    (moved / "wandb.json").write_text('{"id"')
    assert identify(moved).id.startswith("moved-")


def test_an_id_of_a_long_name_is_one_that_wandb_takes(tmp_path: Path) -> None:
    path = tmp_path / ("stage.learning_rate=0.0001," * 8)
    path.mkdir()
    with open_tracker(SPEC, path, {}, job_type="sft") as tracker:
        tracker.log(1, {"loss": 1.0})
    assert len(identify(path).id) < 100


def test_a_failed_run_is_marked_as_failed(run_dir: Path, read_offline: Read) -> None:
    def train() -> None:
        with open_tracker(SPEC, run_dir, {}, job_type="sft"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    [end] = [record.exit for record in read_offline(run_dir.parent) if record.HasField("exit")]
    assert end.exit_code == 1


_TRAIN_WHILE_WANDB_DIES = """
import logging, os, signal, subprocess, sys
from pathlib import Path
from reasoning_lab.tracking.specs import TrackingSpec
from reasoning_lab.tracking.tracker import open_tracker
logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
with open_tracker(TrackingSpec(wandb=True), Path(sys.argv[1]), {}, job_type="sft") as tracker:
    tracker.log(1, {"loss": 1.0})
    children = ["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"]
    for number in subprocess.run(children, capture_output=True, text=True).stdout.split():
        os.kill(int(number), signal.SIGKILL)
    for step in range(2, 2000):
        tracker.log(step, {"loss": 1.0})
    tracker.samples(2000, [{"question": "1 + 1"}])
    tracker.summary({"correct": 0.5})
print("trained to the end")
other = Path(sys.argv[1]).with_name("another")
other.mkdir()
with open_tracker(TrackingSpec(wandb=True), other, {}, job_type="sft") as tracker:
    tracker.log(1, {"loss": 1.0})
print("and another")
"""


def test_training_goes_on_when_wandb_dies(run_dir: Path) -> None:
    command = [sys.executable, "-c", _TRAIN_WHILE_WANDB_DIES, str(run_dir)]
    program = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (program.returncode, program.stdout) == (0, "trained to the end\nand another\n")
    assert program.stderr.count("metrics.jsonl goes on") == 1


def test_a_dead_server_means_offline(
    run_dir: Path,
    offline_history: Read,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(weights_and_biases, "_SECONDS_TO_CONNECT", 1)
    with open_tracker(SPEC, run_dir, {}, job_type="sft") as tracker:
        tracker.log(1, {"loss": 1.0})
    [kept] = run_dir.parent.glob("wandb/offline-run-*")
    assert kept.name.endswith(identify(run_dir).id)
    [trouble, instead] = said()
    assert "server cannot be used, recording offline" in trouble
    assert "wandb sync" in instead
    assert offline_history(run_dir.parent) == [{"step": 1, "loss": 1.0}]


@pytest.mark.parametrize(
    ("mode", "environment", "expected"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": KEY}, "online"),
        ("auto", {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_MODE": "disabled"}, "disabled"),
        ("offline", {"WANDB_API_KEY": KEY, "WANDB_MODE": "online"}, "offline"),
        ("online", {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "online"),
    ],
)
def test_the_mode_follows_the_config_then_the_environment_then_the_key(
    mode: Any, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert weights_and_biases._choose_mode(TrackingSpec(wandb=True, mode=mode)) == expected


def test_a_key_in_netrc_counts(wandb_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    (wandb_environment / ".netrc").write_text(f"machine 127.0.0.1:9 login user password {KEY}\n")
    assert weights_and_biases._choose_mode(SPEC) == "online"


def test_switched_off_by_the_environment(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    history = [{"step": 1, "time": 0.0, "loss": 1.0}]
    with open_tracker(SPEC, run_dir, {}, job_type="sft", resume_step=1, history=history) as tracker:
        tracker.log(2, {"loss": 1.0})
    assert list(run_dir.parent.glob("wandb/*run-*")) == []


def test_online_without_a_key_says_what_to_do(run_dir: Path) -> None:
    spec = TrackingSpec(wandb=True, mode="online")
    with pytest.raises(ConfigError, match=r"tracking\.mode=online.*wandb login"):
        open_tracker(spec, run_dir, {}, job_type="sft").__enter__()


def test_a_malformed_key_says_so(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(ConfigError, match=r"W&B API key"):
        open_tracker(SPEC, run_dir, {}, job_type="sft").__enter__()


def test_a_project_name_wandb_refuses_is_a_mistake_in_the_config(run_dir: Path) -> None:
    spec = TrackingSpec(wandb=True, project="a/b")
    with pytest.raises(ConfigError, match=r"tracking: W&B does not accept"):
        open_tracker(spec, run_dir, {}, job_type="sft").__enter__()
