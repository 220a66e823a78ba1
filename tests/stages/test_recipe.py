"""Runs in folders of their own: made, gone on with, paused, and left alone when they are done."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import Experiment, compose, load
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.records import read_records
from reasoning_lab.runs.status import read_status
from reasoning_lab.stages import parents, recipe
from tests.stages.test_grpo_run import QUICK as GRPO

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # by Tunix

SFT = ("experiment=quick_cpu", "stage.eval_every=2", "evaluation.baseline=false")
QUICK = {"sft": SFT, "grpo": (*GRPO, "evaluation.baseline=false")}


def experiment(folder: Path, *overrides: str, stage: str = "sft") -> Experiment:
    return compose([*QUICK[stage], f"runs_dir={folder}", *overrides])


def metrics(folder: RunFolder) -> dict[int, dict[str, Any]]:
    """What was recorded of each step but for times; those who measure write in any order."""
    about_time = ("time", "seconds", "per_second")
    by_step: dict[int, dict[str, Any]] = {}
    for record in read_records(folder.metrics_path):
        kept = {name: v for name, v in record.items() if not any(t in name for t in about_time)}
        by_step.setdefault(record["step"], {}).update(kept)
    return by_step


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """Runs of each stage that were left alone, by stage."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        stage: recipe.run(experiment(folder, f"run_dir={folder}/{stage}", stage=stage))
        for stage in QUICK
    }


def test_a_run_is_made_at_the_very_path(whole: dict[str, RunFolder]) -> None:
    for stage, folder in whole.items():
        assert folder.id == stage
        assert read_status(folder.status_path).state == "done"
        assert folder.report_path.exists()


def test_the_config_of_a_run_says_nothing_of_the_attempt(
    whole: dict[str, RunFolder], tmp_path: Path
) -> None:
    """It can then be moved, and `resume` goes to the end."""
    for folder in whole.values():
        kept = yaml.safe_load(folder.config_path.read_text())
        assert (kept["run_dir"], kept["stop_at"]) == (None, None)
    paused = recipe.run(experiment(tmp_path, f"run_dir={tmp_path}/a", "stop_at=1"))
    kept = load(paused.config_path)
    assert (kept.run_dir, kept.stop_at) == (None, None)
    assert str(paused.path) not in paused.config_path.read_text()


def test_a_run_that_is_done_is_left_alone(
    whole: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "_train_and_evaluate", None)
    folder = whole["sft"]
    before = folder.status_path.stat()
    words = [f"run_dir={folder.path}", "tracking.group=other", "name=other"]
    assert recipe.run(experiment(folder.path.parent, *words)) == folder
    assert folder.status_path.stat() == before


def test_a_run_that_does_something_else_is_refused(whole: dict[str, RunFolder]) -> None:
    folder = whole["sft"]
    words = [f"run_dir={folder.path}", "lora.rank=2", "seed=3"]
    with pytest.raises(ConfigError) as error:
        recipe.run(experiment(folder.path.parent, *words))
    assert f"run_dir={folder.path} holds another run" in str(error.value)
    assert "lora.rank is 16 and 2" in str(error.value)
    assert "seed is 0 and 3" in str(error.value)
    assert load(folder.config_path).lora.rank == 16
    assert read_status(folder.status_path).state == "done"


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=r"holds no run but thesis\.tex"):
        recipe.run(experiment(tmp_path, f"run_dir={tmp_path}"))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConfigError, match="cannot be made"):
        recipe.run(experiment(tmp_path, f"run_dir={tmp_path}/thesis.tex"))


def test_a_folder_that_only_holds_what_was_said_is_taken(tmp_path: Path) -> None:
    (tmp_path / "output.txt").write_text("as a sweep begins it")
    folder = recipe.run(experiment(tmp_path, f"run_dir={tmp_path}", "stop_at=1"))
    assert read_status(folder.status_path).state == "paused"


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_run_that_paused_goes_on_as_if_it_had_not(
    stage: str, whole: dict[str, RunFolder], tmp_path: Path
) -> None:
    """Twice, and not where a checkpoint is saved anyway."""
    at = f"run_dir={tmp_path}/a"
    for stop in (1, 3):
        folder = recipe.run(experiment(tmp_path, at, f"stop_at={stop}", stage=stage))
        status = read_status(folder.status_path)
        assert (status.state, status.step, status.max_steps) == ("paused", stop, 4)
        assert max(metrics(folder)) == stop
        assert (folder.checkpoints_dir / str(stop)).is_dir()
        assert not folder.report_path.exists()
    recipe.run(experiment(tmp_path, at, stage=stage))
    assert read_status(folder.status_path).state == "done"
    assert metrics(folder) == metrics(whole[stage])
    assert answers(folder) == answers(whole[stage])


def answers(folder: RunFolder) -> list[Any]:
    return [(one["model"], one["completion"]) for one in read_records(folder.samples_path)]


def test_a_run_that_is_to_stop_at_its_end_ends(tmp_path: Path) -> None:
    words = [f"run_dir={tmp_path}/a", "stage.max_steps=2", "stop_at=2"]
    folder = recipe.run(experiment(tmp_path, *words))
    assert read_status(folder.status_path).state == "done"


def test_a_run_that_is_past_where_it_is_to_stop_takes_no_step(tmp_path: Path) -> None:
    at = f"run_dir={tmp_path}/a"
    folder = recipe.run(experiment(tmp_path, at, "stop_at=3"))
    before = metrics(folder)
    recipe.run(experiment(tmp_path, at, "stop_at=2"))
    assert read_status(folder.status_path).state == "paused"
    assert metrics(folder) == before


def test_resume_goes_to_the_end_of_a_paused_run(
    whole: dict[str, RunFolder], tmp_path: Path
) -> None:
    folder = recipe.run(experiment(tmp_path, f"run_dir={tmp_path}/a", "stop_at=2"))
    moved = RunFolder(folder.path.rename(tmp_path / "moved"))
    recipe.resume(moved)
    assert read_status(moved.status_path).state == "done"
    assert metrics(moved) == metrics(whole["sft"])


WARM = ("stage@warm_start=sft", "warm_start.max_steps=2", "stage.max_steps=1", "stage.eval_every=0")


def warm(folder: Path, *overrides: str) -> Experiment:
    return experiment(folder, *WARM, *overrides, stage="grpo")


def starts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{parents.WARM_STARTS}/sft-*"))


def test_runs_beside_each_other_share_how_they_begin(tmp_path: Path) -> None:
    one = recipe.run(warm(tmp_path, f"run_dir={tmp_path}/s/a", "stage.beta=0.1"))
    [start] = starts(tmp_path / "s")
    shared = RunFolder(tmp_path / "s" / parents.WARM_STARTS / start)
    status = shared.status_path.read_text()
    two = recipe.run(warm(tmp_path, f"run_dir={tmp_path}/s/b", "stage.beta=0.2"))
    assert starts(tmp_path / "s") == [start]
    assert shared.status_path.read_text() == status  # it was made once
    assert load(shared.config_path).stage.max_steps == 2
    for run in (one, two):
        begun = RunFolder.open(str(load(run.config_path).init_from), tmp_path)
        assert begun == shared
        assert f"beginning with step 2 of {start}" in run.log_path.read_text()


def start_of(folder: Path, *overrides: str) -> Path:
    """Where the beginning of a run would be."""
    return Path(parents.start_of(warm(folder, *overrides)).run_dir or "")


def test_only_what_is_the_same_is_shared(tmp_path: Path) -> None:
    same = [
        start_of(tmp_path, f"run_dir={tmp_path}/s/{word.replace('=', '')}", word)
        for word in ("stage.beta=0.1", "reward=math", "name=a", "stop_at=1", "stage.epsilon=0.3")
    ]
    assert len(set(same)) == 1
    assert same[0].parent == tmp_path / "s" / parents.WARM_STARTS
    other = [
        start_of(tmp_path, f"run_dir={tmp_path}/s/a", word)
        for word in ("lora.rank=2", "warm_start.max_steps=3", "seed=1", "data=arithmetic")
    ]
    elsewhere = start_of(tmp_path, f"run_dir={tmp_path}/t/a")
    assert len({same[0], *other, elsewhere}) == 1 + 4 + 1
    alone = parents.start_of(warm(tmp_path))
    assert alone.run_dir is None


def test_a_beginning_that_failed_fails_the_run_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = warm(tmp_path, f"run_dir={tmp_path}/s/a")

    def fails(experiment: Experiment, folder: RunFolder) -> None:
        with folder.status():
            raise ValueError("no luck")

    with monkeypatch.context() as patched:
        patched.setattr(recipe, "_train_and_evaluate", fails)
        with pytest.raises(ValueError, match="no luck"):
            recipe.run(words)
    [start] = starts(tmp_path / "s")
    status = tmp_path / "s" / parents.WARM_STARTS / start / "status.json"
    assert json.loads(status.read_text())["state"] == "failed"
    folder = recipe.run(dataclasses.replace(words, stop_at=None))
    assert read_status(status).state == "done"
    assert read_status(folder.status_path).state == "done"
