import errno
import os
from pathlib import Path

import pytest

from reasoning_lab.runs.files import DiskFullError, naming_full_disk, write_atomically


def test_the_old_file_survives_a_disk_that_fills_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"disk is full: .*status\.json.*resume"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["status.json"]


def test_other_trouble_is_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "status.json", "text")


def test_a_checkpoint_that_does_not_fit_is_a_full_disk() -> None:
    # What Orbax raised on a tmpfs of 2.5 MB.
    message = 'RESOURCE_EXHAUSTED: Error writing local file "/runs/1/checkpoints/4/_sharding"'
    with pytest.raises(DiskFullError, match="checkpoints"), naming_full_disk(Path("checkpoints")):
        raise ValueError(message)


def test_other_value_errors_pass_through() -> None:
    with pytest.raises(ValueError, match="unlike"), naming_full_disk(Path("checkpoints")):
        raise ValueError("unlike a full disk")
