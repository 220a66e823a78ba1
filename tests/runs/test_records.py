import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.runs.files import DiskFullError
from reasoning_lab.runs.records import RecordWriter, read_records


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the kernel cut writes short at `size` bytes, as a disk does that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_appended_is_read_back_at_once(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    records = [{"step": 1, "text": "à\nb\u2028"}, {"step": 2, "tokens": [1, 2], "text": "NaN"}]
    with RecordWriter(path) as writer:
        for count, record in enumerate(records, start=1):
            writer.append(record)
            assert read_records(path) == records[:count]


def test_no_file_means_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "samples.jsonl") == []


def test_a_torn_last_line_is_ignored_and_not_glued_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2, "te')
    assert read_records(path) == [{"step": 1}]
    with RecordWriter(path) as writer:
        writer.append({"step": 2})
    assert read_records(path) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("line", ["loss=3", "[1, 2]", "\x00\x00"])
def test_a_foreign_line_in_the_middle_is_an_error_with_its_number(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(ConfigError, match=r"samples\.jsonl, line 2 is not"):
        read_records(path)


def test_numbers_json_lacks_stay_valid_json_at_any_depth(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with RecordWriter(path) as writer:
        writer.append({"log_probs": [float("nan"), -1.5], "rewards": {"a": float("-inf")}})
    assert read_records(path) == [{"log_probs": ["NaN", -1.5], "rewards": {"a": "-Infinity"}}]


def test_resuming_drops_the_records_of_steps_to_be_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with RecordWriter(path) as writer:
        for step in range(1, 8):
            writer.append({"step": step, "attempt": 1})
    with RecordWriter(path, resume_step=5) as writer:
        writer.append({"step": 6, "attempt": 2})
    steps = [(record["step"], record["attempt"]) for record in read_records(path)]
    assert steps == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 2)]


def test_a_disk_that_fills_up_in_the_middle_of_a_line_loses_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with RecordWriter(path) as writer:
        writer.append({"step": 1})
        with files_of_at_most(20), pytest.raises(DiskFullError, match=r"samples\.jsonl"):
            writer.append({"step": 2, "text": "longer than what is left"})
        assert read_records(path) == [{"step": 1}]
        writer.append({"step": 3})  # space was freed
    assert read_records(path) == [{"step": 1}, {"step": 3}]


def test_a_disk_already_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "samples.jsonl"

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskFullError, match=r"samples\.jsonl"):
        RecordWriter(path)
