import os
import re
import stat
from pathlib import Path

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.runs.folder import RunFolder


def finished_run(runs_dir: Path, run_id: str) -> RunFolder:
    run = RunFolder(runs_dir / run_id)
    run.path.mkdir(parents=True)
    run.config_path.write_text("seed: 0\n")
    return run


def test_id_tells_when_and_what(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "made" / "on the way", "sft", "gemma3_270m", "my data/v2")
    assert run.path.is_dir()
    assert re.fullmatch(r"\d{8}-\d{6}-sft-gemma3_270m-my_data_v2", run.id)


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    runs = [RunFolder.create(tmp_path, "sft") for _ in range(30)]
    assert len({run.path for run in runs}) == 30
    assert len(list(tmp_path.iterdir())) == 30


def test_a_very_long_name_still_makes_a_folder(tmp_path: Path) -> None:
    assert len(RunFolder.create(tmp_path, "x" * 400).id) <= 100


def test_runs_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(ConfigError, match=r"runs_dir=.*is a file"):
        RunFolder.create(tmp_path / "runs", "sft")
    with pytest.raises(ConfigError, match=r"runs_dir=.*no folder can be made"):
        RunFolder.create(tmp_path / "runs" / "below", "sft")


def test_runs_dir_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:  # permissions do not bind root: let the system call say no
        monkeypatch.setattr(Path, "mkdir", _deny)
    else:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ConfigError, match=r"runs_dir=.*Permission denied.*runs_dir=runs"):
        RunFolder.create(tmp_path, "sft")


def _deny(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_run_is_found_by_path_by_id_and_as_the_latest(tmp_path: Path) -> None:
    older = finished_run(tmp_path, "20261121-225501-sft")
    newer = finished_run(tmp_path, "20261122-000000-sft")
    (tmp_path / "wandb").mkdir()  # W&B's shared folder lies among the runs
    (tmp_path / "20261123-000000-broken").mkdir()  # died before its config was written
    for name in (older.path, str(older.path), older.id):
        assert RunFolder.open(name, tmp_path).path == older.path
    assert RunFolder.open("latest", tmp_path).path == newer.path


def test_latest_of_the_same_second_is_the_one_touched_last(tmp_path: Path) -> None:
    runs = [finished_run(tmp_path, f"20261121-225501-sft{end}") for end in ("-2", "-10", "")]
    for seconds, run in enumerate(runs):
        os.utime(run.path, (seconds, seconds))
    assert RunFolder.open("latest", tmp_path).id == "20261121-225501-sft"


def test_an_unknown_run_is_an_error_that_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run 'latest'.*\n?.*none"):
        RunFolder.open("latest", tmp_path / "nowhere")
    known = finished_run(tmp_path, "20261121-225501-sft")
    with pytest.raises(ConfigError, match=rf"no run 'typo'[\s\S]*{known.id}"):
        RunFolder.open("typo", tmp_path)
