import json
from pathlib import Path

import numpy as np
import pytest

from reasoning_lab.compare.comparison import ComparedRun
from reasoning_lab.compare.find import find_runs
from reasoning_lab.compare.folders import flatten, read_run
from reasoning_lab.config import ConfigError
from reasoning_lab.runs.metrics import MetricsWriter
from tests.compare.run_folders import config, rewrite_status, write_run, write_sweep

AXES = {"lora.rank": ["8", "16"]}


def read(*paths: Path | str, runs_dir: Path | str = "runs") -> dict[str, ComparedRun]:
    return {found.name: read_run(found) for found in find_runs(paths, runs_dir)}


def test_a_finished_run_is_read_whole(tmp_path: Path) -> None:
    run = read(write_sweep(tmp_path / "s", AXES, 1, steps=20, problems=16))["rank=8-seed=0"]
    assert (run.stage, run.state, run.step, run.max_steps) == ("grpo", "done", 20, 20)
    assert (run.seed, run.overrides) == (0, {"lora.rank": "8", "seed": "0"})
    assert run.device_minutes == pytest.approx(20 * 3.0 / 60)
    assert run.config["lora.rank"] == 8
    assert run.series["train/kl"].steps.tolist() == list(range(1, 21))
    assert run.series["eval/score"].steps.tolist() == [5, 10, 15, 20]
    assert list(run.answers) == ["base, zero-shot", "GRPO"]
    assert len(run.trained) == 16
    assert run.trouble == ()


def test_devices_count_in_the_minutes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {"hardware.fsdp": "4", "hardware.tp": "2"}, stage="sft")
    assert read(run.path)["r"].device_minutes == pytest.approx(20 * 2.0 / 60 * 8)


def test_runs_in_every_state_are_told_apart(tmp_path: Path) -> None:
    names = [f"rank={rank}-seed={seed}" for rank in (8, 16) for seed in (0, 1)]
    waiting, running, failed, killed = names
    sweep = write_sweep(
        tmp_path / "s", AXES, 2, waiting=[waiting], running=[running], failed=[failed],
        killed=[killed],
    )  # fmt: skip
    runs = read(sweep)
    assert [runs[name].state for name in names] == ["waiting", "running", "failed", "killed"]
    assert (runs[waiting].seed, runs[waiting].max_steps, runs[waiting].config) == (0, None, {})
    assert runs[failed].error == "ValueError: the loss of step 7 is nan"
    assert "ValueError" in (runs[failed].traceback or "")
    assert [runs[name].step for name in (running, failed, killed)] == [10, 10, 10]
    assert all(run.trained == () for run in runs.values())


def test_a_torn_line_is_being_written_and_no_trouble(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", AXES, 1, stage="sft", torn=["rank=8-seed=0"])
    run = read(sweep)["rank=8-seed=0"]
    assert run.series["train/loss"].steps.tolist() == list(range(1, 20))
    assert run.trouble == ()


def test_of_corrupt_files_the_rest_is_read_and_the_damage_told(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", AXES, 1, stage="sft", corrupt=["rank=8-seed=0"])
    run = read(sweep)["rank=8-seed=0"]
    assert run.state == "unreadable"
    assert run.series["train/loss"].steps.tolist() == [1, 2, *range(5, 21)]
    assert len(run.trained) == 16
    assert len(run.answers["base, zero-shot"]) == 15
    text = " ".join(run.trouble)
    assert "status.json" in text
    assert "metrics.jsonl: 2 of 20 lines" in text
    assert "samples.jsonl: 1 of 32 lines" in text


def test_a_folder_of_another_version_is_read(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", AXES, 1, older=["rank=8-seed=0"])
    run = read(sweep)["rank=8-seed=0"]
    assert (run.state, run.step) == ("done", 20)
    assert run.config["generation.temperature"] == 1.0
    assert {answer.reward for answer in run.trained} == {None}
    assert "another version" in run.trouble[0]


def test_numbers_that_are_none_are_kept_as_such(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {}, steps=0)
    with MetricsWriter(run.metrics_path) as metrics:
        metrics.log(1, {"train/loss": float("nan"), "train/kl": float("inf")})
        metrics.log(2, {"train/loss": 0.5, "train/kl": 1.0})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 3, "train/loss": null, "train/kl": [1]}\n{"train/loss": 1.0}\n')
    read_back = read(run.path)["r"]
    assert str(read_back.series["train/loss"].values.tolist()) == "[nan, 0.5, nan]"
    assert str(read_back.series["train/kl"].values.tolist()) == "[inf, 1.0, nan]"
    assert "1 records have no step" in read_back.trouble[0]


@pytest.mark.parametrize("text", ["lora: {rank: 8", "- a\n- b\n", "\x00"])
def test_a_config_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    run = write_run(tmp_path / "r", {})
    run.config_path.write_text(text)
    read_back = read(run.path)["r"]
    assert "config.yaml" in read_back.trouble[0]
    assert (read_back.config, len(read_back.trained)) == ({}, 16)


def test_a_status_that_is_no_status_is_unreadable(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {})
    run.status_path.write_text("[]")
    assert read(run.path)["r"].state == "unreadable"


def test_whatever_is_in_the_files_reading_does_not_fail(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {}, steps=4, problems=2)
    files = [run.config_path, run.status_path, run.metrics_path, run.samples_path]
    whole = {path: path.read_bytes() for path in files}
    random = np.random.default_rng(0)
    strange = [
        b"\x00",
        b"\xff",
        b"[",
        b"{}",
        b"null",
        b'"',
        b"\n",
        b"1e999",
        b"-",
        b":",
        b"9" * 400,
    ]
    for _ in range(200):
        for path, data in whole.items():
            places = sorted(random.integers(0, len(data), 2))
            middle = strange[random.integers(len(strange))]
            path.write_bytes(data[: places[0]] + middle + data[places[1] :])
        assert read(run.path)["r"].name == "r"


def test_answers_of_the_base_alone_are_not_taken_for_the_trained_model(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {})
    lines = run.samples_path.read_text().splitlines(keepends=True)
    run.samples_path.write_text("".join(line for line in lines if "base, zero-shot" in line))
    read_back = read(run.path)["r"]
    assert read_back.trained == ()
    assert "no answers of the trained model" in read_back.trouble[0]


def test_flat_keys_tell_kinds_apart_and_leave_out_what_changes_nothing() -> None:
    root = config({"lora.rank": "16", "tracking.group": "x"})
    root["reward"]["math"]["_target_"] = "reasoning_lab.rewards.math.Math"
    root |= {"run_dir": "x", "stop_at": 3, "sweep": {"name": "x"}}
    flat = flatten(root)
    assert flat["stage"] == "grpo"
    assert flat["reward.math"] == "Math"
    assert flat["warm_start"] is None
    assert "lora" not in flat
    gone = ("name", "runs_dir", "run_dir", "check", "stop_at", "tracking", "sweep")
    assert not [key for key in flat if key.split(".")[0] in gone or "_target_" in key]


def test_arguments_may_mix_sweeps_runs_ids_and_folders_of_runs(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    sweep = write_sweep(runs_dir / "sweeps" / "grid", AXES, 1)
    single = write_run(runs_dir / "20261122-000000-sft-tiny", {}, stage="sft")
    other = write_run(tmp_path / "others" / "a", {})
    (tmp_path / "others" / "notes").mkdir()
    names = {"rank=8-seed=0", "rank=16-seed=0", single.id, "a"}
    asked = [sweep, sweep / "rank=8-seed=0", single.id, "latest", other.path.parent, other.path]
    assert set(read(*asked, runs_dir=runs_dir)) == names
    assert read("grid", runs_dir=runs_dir).keys() == {"rank=8-seed=0", "rank=16-seed=0"}
    both = read(sweep / "rank=8-seed=0", sweep)
    assert both["rank=8-seed=0"].overrides["lora.rank"] == "8"


def test_runs_of_one_name_are_told_apart_by_their_sweep(tmp_path: Path) -> None:
    sweeps = [write_sweep(tmp_path / name, AXES, 1) for name in ("a", "b")]
    assert set(read(*sweeps)) == {
        f"{sweep}/rank={rank}-seed=0" for sweep in ("a", "b") for rank in (8, 16)
    }
    deeper = write_sweep(tmp_path / "deep" / "a", AXES, 1)
    assert len(read(sweeps[0], deeper)) == 4


def test_what_is_no_run_is_refused_with_what_there_is(tmp_path: Path) -> None:
    write_run(tmp_path / "20261122-000000-sft-tiny", {}, stage="sft")
    with pytest.raises(ConfigError, match="20261122-000000-sft-tiny"):
        find_runs(["nothing"], tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="neither a run nor a sweep"):
        find_runs([tmp_path / "empty"])
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.json").write_text(json.dumps({"runs": {}}))
    with pytest.raises(ConfigError, match="no runs"):
        find_runs([tmp_path / "s"])


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"runs": {"a": 3}}'])
def test_a_broken_sweep_is_named_with_a_way_round_it(tmp_path: Path, text: str) -> None:
    sweep = write_sweep(tmp_path / "s", AXES, 1)
    (sweep / "sweep.json").write_text(text)
    with pytest.raises(ConfigError, match=r"sweep\.json is not .* compare .*/s/\*/"):
        find_runs([sweep])


def test_a_run_that_goes_on_is_further_than_its_status(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {}, state="running", steps=20)
    rewrite_status(run, step=8)
    assert read(run.path)["r"].step == 10
