"""A sweep as a whole, with runs that take no time."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import mark_failed, read_status
from reasoning_lab.sweeps.conduct import conduct
from reasoning_lab.sweeps.plan import Point, Request, read_request
from tests.sweeps.fake_runs import Launcher, write_run


def request(folder: Path, *overrides: str) -> Request:
    quick = ["experiment=quick_cpu", f"runs_dir={folder}", "sweep.name=s", "lora.rank=2,4"]
    return read_request([*quick, *overrides])


def test_a_sweep_ends_with_a_comparison(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    launcher = Launcher()
    conduct(request(tmp_path), launcher)
    assert launcher.launched == ["rank=2+seed=0", "rank=4+seed=0"]
    sweep = tmp_path / "sweeps/s"
    assert (sweep / "comparison/index.html").exists()
    assert "| rank=2+seed=0 | done | 4/4 | eval/score 0.5 |" in (sweep / "runs.md").read_text()
    said = capfd.readouterr().out
    assert "2 runs, 2 to do" in said
    assert "cannot be told apart" in said


def test_what_is_done_is_skipped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    conduct(request(tmp_path), Launcher())
    again = Launcher()
    conduct(request(tmp_path), again)
    assert again.launched == []
    assert "2 runs, 0 to do, 2 done already" in capfd.readouterr().out
    conduct(request(tmp_path, "lora.rank=2,4,8"), again)
    assert again.launched == ["rank=8+seed=0"]


def test_a_failure_is_told_at_once_and_stops_no_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    launcher = Launcher(failing=["rank=2+seed=0"])
    with pytest.raises(RunError) as error:
        conduct(request(tmp_path), launcher)
    assert launcher.launched == ["rank=2+seed=0", "rank=4+seed=0"]
    assert "1 of 2 runs did not end well" in str(error.value)
    assert "rank=2+seed=0: failed ValueError: no luck" in str(error.value)
    assert "sweep.retry_failed=true" in str(error.value)
    assert "failed rank=2+seed=0 at step 4: ValueError: no luck" in capfd.readouterr().out


def test_what_failed_is_tried_again_when_asked(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        conduct(request(tmp_path), Launcher(failing=["rank=2+seed=0"]))
    again = Launcher()
    with pytest.raises(RunError):
        conduct(request(tmp_path), again)
    assert again.launched == []
    conduct(request(tmp_path, "sweep.retry_failed=true"), again)
    assert again.launched == ["rank=2+seed=0"]


def test_a_run_without_room_on_the_disk_goes_on_by_itself(tmp_path: Path) -> None:
    def full(points: Sequence[Point]) -> None:
        for point in points:
            mark_failed(write_run(point).status_path, "DiskFullError: The disk is full", "")

    with pytest.raises(RunError, match="The disk is full"):
        conduct(request(tmp_path), full)
    again = Launcher()
    conduct(request(tmp_path), again)
    assert len(again.launched) == 2


def test_a_sweep_that_was_stopped_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def stopped(points: Sequence[Point]) -> None:
        write_run(points[0])
        folder = RunFolder.at(points[1].path)
        with folder.status() as status:
            status.update(2, 4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conduct(request(tmp_path), stopped)
    said = capfd.readouterr().out
    assert "Stopped: 1 of 2 done, 1 interrupted" in said
    assert "The same command goes on." in said
    again = Launcher()
    conduct(request(tmp_path), again)
    assert again.launched == ["rank=4+seed=0"]


def test_nothing_begins_if_one_point_is_wrong(tmp_path: Path) -> None:
    launcher = Launcher()
    with pytest.raises(ConfigError, match="must be at least 1"):
        conduct(request(tmp_path, "lora.rank=2,-1"), launcher)
    assert launcher.launched == []
    assert not (tmp_path / "sweeps").exists()


def test_a_launcher_that_runs_nothing_leaves_runs_to_begin(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    conduct(request(tmp_path), lambda points: None)
    assert "2 of 2 runs are still to begin" in capfd.readouterr().out


SEARCH = (
    *("sweep=asha", "sweep.trials=9", "stage.max_steps=9", "stage.eval_every=1"),
    *("sweep.metric=eval/score", "stage.learning_rate=interval(0.1,0.9)", "lora.rank=2"),
)


def better_with_rate(point: Point, step: int) -> float:
    return point.experiment.stage.learning_rate * step


def test_a_search_pauses_most_and_finishes_the_best(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    launcher = Launcher(better_with_rate)
    conduct(request(tmp_path, *SEARCH), launcher)
    runs = [RunFolder(path.parent) for path in (tmp_path / "sweeps/s").glob("*/status.json")]
    steps = {run.id: read_status(run.status_path).step for run in runs}
    assert sorted(steps.values()) == [1] * 6 + [3, 3, 9]
    best = max(steps, key=lambda name: float(name.split("+")[0].split("=")[1]))
    assert steps[best] == 9
    assert len(launcher.launched) == 9 + 3 + 1
    assert "9 settings, judged by eval/score at steps 1, 3, 9" in capfd.readouterr().out


def test_a_search_that_was_stopped_makes_the_same_choices(tmp_path: Path) -> None:
    whole, first, second = (Launcher(better_with_rate) for _ in range(3))
    conduct(request(tmp_path / "a", *SEARCH), whole)

    def until_the_sixth(points: Sequence[Point]) -> None:
        if len(first.launched) == 5:
            raise KeyboardInterrupt
        first(points)

    with pytest.raises(KeyboardInterrupt):
        conduct(request(tmp_path / "b", *SEARCH), until_the_sixth)
    conduct(request(tmp_path / "b", *SEARCH), second)
    assert first.launched + second.launched == whole.launched


def test_a_search_over_another_space_is_refused(tmp_path: Path) -> None:
    conduct(request(tmp_path, *SEARCH), Launcher(better_with_rate))
    with pytest.raises(ConfigError, match="has another space"):
        conduct(request(tmp_path, *SEARCH, "stage.learning_rate=interval(0.1,0.5)"), Launcher())


def test_a_setting_that_fails_is_not_carried_on(tmp_path: Path) -> None:
    def score(point: Point, step: int) -> float:
        return float("nan") if point.experiment.stage.learning_rate > 0.5 else 1.0

    conduct(request(tmp_path, *SEARCH), Launcher(score))
    done = [
        path.parent.name
        for path in (tmp_path / "sweeps/s").glob("*/status.json")
        if read_status(path).state == "done"
    ]
    assert done
    assert all(float(name.split("+")[0].split("=")[1]) <= 0.5 for name in done)
