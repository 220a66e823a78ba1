"""The folder of a sweep: runs that are there already are found, and nothing else gets in."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.sweeps.folder import SweepFolder
from reasoning_lab.sweeps.plan import Point, grid, read_request
from tests.sweeps.fake_runs import write_run


def points(folder: Path, *overrides: str) -> list[Point]:
    quick = ["experiment=quick_cpu", f"runs_dir={folder}", "sweep.name=s"]
    return grid(read_request([*quick, *overrides]))


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    """A sweep of two runs that have ended."""
    folder = SweepFolder(tmp_path / "sweeps" / "s")
    folder.path.mkdir(parents=True)
    made = points(tmp_path, "lora.rank=2,4")
    folder.add(made, "python launch.py -m lora.rank=2,4")
    for point in made:
        write_run(point)
    return folder


def test_what_a_sweep_consists_of_is_put_down(sweep: SweepFolder) -> None:
    record = sweep.read()
    assert record["axes"] == {"lora.rank": ["2", "4"], "seed": ["0"]}
    assert record["runs"]["rank=4+seed=0"] == {"lora.rank": "4", "seed": "0"}
    assert record["command"] == "python launch.py -m lora.rank=2,4"


def test_more_values_and_seeds_join(sweep: SweepFolder, tmp_path: Path) -> None:
    more = sweep.at_home(points(tmp_path, "lora.rank=8", "seed=1,2"))
    sweep.add(more, "another command")
    record = sweep.read()
    assert record["axes"] == {"lora.rank": ["2", "4", "8"], "seed": ["0", "1", "2"]}
    assert len(record["runs"]) == 4


def test_a_run_is_found_by_what_it_does_under_any_name(sweep: SweepFolder, tmp_path: Path) -> None:
    found = sweep.at_home(points(tmp_path, "lora.rank=4", "stage.learning_rate=5e-4,1e-4"))
    assert [point.name for point in found] == [
        *("rank=4+seed=0", "rank=4+learning_rate=0.0001+seed=0")  # 5e-4 is the default
    ]
    assert found[0].experiment.run_dir == str(found[0].path)


def test_runs_of_another_experiment_stay_out(sweep: SweepFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        sweep.at_home(points(tmp_path, "lora.rank=2,4", "stage.max_steps=9"))
    assert "stage.max_steps is 4 and 9" in str(error.value)
    assert "sweep.name=s-2" in str(error.value)


def test_a_group_that_is_swept_may_differ_in_all_its_keys(
    sweep: SweepFolder, tmp_path: Path
) -> None:
    assert len(sweep.at_home(points(tmp_path, "lora.rank=2", "data=running_sum,arithmetic"))) == 2
    with pytest.raises(ConfigError, match=r"another experiment: data\.sources"):
        sweep.at_home(points(tmp_path, "lora.rank=2,4", "data=arithmetic"))


def test_a_run_of_an_older_version_is_left_alone(sweep: SweepFolder, tmp_path: Path) -> None:
    old = sweep.path / "rank=2+seed=0" / "config.yaml"
    old.write_text(old.read_text("utf-8").replace("rank:", "r:"), "utf-8")
    assert len(sweep.at_home(points(tmp_path, "lora.rank=4,8"))) == 2
    with pytest.raises(ConfigError, match="was made by another version") as error:
        sweep.at_home(points(tmp_path, "lora.rank=2,4"))
    assert "lora.r=2" in str(error.value)
    assert old.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"axes": {}}', "null"])
def test_a_damaged_record_is_named(sweep: SweepFolder, text: str) -> None:
    sweep.sweep_path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"sweep\.json does not describe a sweep.*Delete"):
        sweep.read()


def test_a_sweep_can_be_moved(sweep: SweepFolder, tmp_path: Path) -> None:
    shutil.move(sweep.path.parent, tmp_path / "elsewhere" / "sweeps")
    moved = SweepFolder(tmp_path / "elsewhere" / "sweeps" / "s")
    found = moved.at_home(points(tmp_path / "elsewhere", "lora.rank=2,4"))
    assert [point.path.exists() for point in found] == [True, True]


def test_two_processes_cannot_run_one_sweep(sweep: SweepFolder) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from reasoning_lab.sweeps.folder import SweepFolder\n"
        "with SweepFolder(Path(sys.argv[1])).alone(): print('in')"
    )
    command = [sys.executable, "-c", script, str(sweep.path)]
    with sweep.alone():
        other = subprocess.run(command, capture_output=True, text=True)
    assert "another process is running this sweep" in other.stderr
    assert subprocess.run(command, capture_output=True, text=True).stdout == "in\n"
    assert json.loads(sweep.sweep_path.read_text("utf-8"))
