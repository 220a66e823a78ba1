"""Which rows are read, in what order, and from where."""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import kagglehub
import pytest
import requests
from kagglehub import exceptions

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Example
from reasoning_lab.data.row_cache import CHUNK, RowCache, cache_folder
from reasoning_lab.data.row_files import RowFile, rows_of
from reasoning_lab.data.rows import Slice, local_folder, parse_split, shuffled
from reasoning_lab.data.sources.gsm8k import Gsm8k
from reasoning_lab.data.sources.table import Table


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("train", Slice("train")),
        ("train[:5]", Slice("train", 0, 5)),
        ("train[5:]", Slice("train", 5)),
        ("train[180000:280000]", Slice("train", 180_000, 280_000)),
        ("train[:]", Slice("train")),
    ],
)
def test_slices_are_read_as_datasets_does(text: str, part: Slice) -> None:
    assert parse_split(text, "k") == part


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train[:10%]", "k=train.*is no split. Write train, train.*percentages"),
        ("train[-5:]", "negative numbers"),
        ("train[5]", "is no split"),
        ("train[1:2]+test", "is no split"),
        ("train[5:5]", "holds no rows"),
    ],
)
def test_other_slices_are_refused_with_what_would_do(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as error:
        parse_split(text, "k")
    assert error.value.keys == ("k",)


def test_a_shuffle_buffer_holds_few_and_loses_none() -> None:
    numbers = iter(range(1000))
    stream = shuffled(numbers, buffer=100, random=Random(0))
    first = list(islice(stream, 10))
    assert next(numbers) == 110
    assert first != sorted(first)
    assert sorted([*first, *stream]) == [n for n in range(1000) if n != 110]
    assert list(shuffled(iter(range(9)), buffer=1, random=Random(0))) == list(range(9))


def table(folder: Path, rows: int = 50) -> Path:
    file = folder / "train.jsonl"
    lines = [json.dumps({"question": f"{n}?", "reasoning": "r", "answer": n}) for n in range(rows)]
    file.write_text("\n".join(lines))
    return file


def test_a_row_has_one_id_in_every_slice_and_source(tmp_path: Path) -> None:
    path = str(table(tmp_path))
    whole = {one.id: one for one in Table(path=path).examples(name="a", seed=0)}
    part = list(Table(path=path, split="train[10:20]").examples(name="b", seed=1))

    assert {one.id for one in part} == {f"{path}: row {n}" for n in range(11, 21)}
    for one in part:
        twin: Any = whole[one.id]
        assert twin.question == one.question  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="holds no rows behind row 50 of train"):
        list(Table(path=path, split="train[50:]").examples(name="a", seed=0))


def test_a_table_is_read_as_far_as_it_is_needed(tmp_path: Path) -> None:
    file = table(tmp_path)
    file.write_text(file.read_text() + "\nnot JSON")
    stream = Table(path=str(file), shuffle_buffer=5).examples(name="a", seed=0)
    assert len(list(islice(stream, 20))) == 20
    with pytest.raises(ConfigError, match="line 51 is not JSON"):
        list(stream)


def test_a_folder_as_hf_download_writes_it(tmp_path: Path) -> None:
    for name in ("main", "socratic"):
        (tmp_path / name).mkdir()
        for split in ("train", "test"):
            row = json.dumps({"question": f"{name} {split}?", "answer": "a #### 1"})
            (tmp_path / name / f"{split}-00000.jsonl").write_text(row)
    (example,) = Gsm8k(path=str(tmp_path)).examples(name="a", seed=0)
    assert isinstance(example, Example)
    assert example.question == "main train?"


def test_json_of_any_shape_is_read_piece_by_piece() -> None:
    rows = [{"n": n, "text": "}" * n + '"\\ é,'} for n in range(200)]
    numbered = {str(n): row for n, row in enumerate(rows)}
    for value, expected in ((rows, rows), (numbered, rows), (rows[3], rows[3:4])):
        for indent in (None, 2):
            content = json.dumps(value, indent=indent).encode()
            file = RowFile("a.json", lambda content=content: io.BytesIO(content))  # type: ignore[misc]
            assert list(rows_of([file])) == expected
            assert list(rows_of([file, file], start=len(expected))) == expected
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    assert list(rows_of([RowFile("a.json", lambda: io.BytesIO(lines))])) == rows


def test_parquet_is_read_from_any_row_over_files_and_groups() -> None:
    import pyarrow
    from pyarrow import parquet

    def file(first: int, rows: int) -> RowFile:
        written = io.BytesIO()
        content = pyarrow.table({"n": list(range(first, first + rows))})
        parquet.write_table(content, written, row_group_size=700)
        return RowFile("a.parquet", lambda: io.BytesIO(written.getvalue()))

    files = [file(0, 1500), file(1500, 10), file(1510, 900)]
    for start in (0, 1, 699, 700, 1300, 1499, 1500, 1505, 1510, 2409, 2410, 3000):
        assert [row["n"] for row in rows_of(files, start=start)] == list(range(start, 2410))


def test_chunks_on_disk_are_whole_and_read_once(tmp_path: Path) -> None:
    size, asked = 2 * CHUNK + 7, Counter[int]()

    def stream(start: int) -> Iterator[dict[str, Any]]:
        asked[start] += 1
        for n in range(start, size):
            yield {"n": n, "none": None, "nan": float("inf"), "when": Path("x")}

    cache = RowCache(tmp_path)
    assert [row["n"] for row in islice(cache.rows(CHUNK + 5, stream), 3)] == [1005, 1006, 1007]
    assert [row["n"] for row in cache.rows(0, stream)] == list(range(size))
    assert asked == {CHUNK: 1, 0: 1, 2 * CHUNK: 1}
    again = list(cache.rows(0, stream))
    assert again[0] == {"n": 0, "none": None, "nan": float("inf"), "when": "x"}
    assert list(cache.rows(size, stream)) == list(cache.rows(9 * CHUNK, stream)) == []
    assert asked.total() == 3

    def broken(start: int) -> Iterator[dict[str, Any]]:
        yield {"n": start}
        raise OSError("cut")

    other = RowCache(tmp_path / "other")
    with pytest.raises(OSError, match="cut"):
        list(other.rows(0, broken))
    assert not list((tmp_path / "other").glob("*"))
    assert list(other.rows(9 * CHUNK, lambda start: iter(()))) == []
    assert len(list(other.rows(0, stream))) == size


def test_the_cache_can_be_moved_and_says_when_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REASONING_LAB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder("a/b", "c") == Path("/x/reasoning_lab/data/a%2Fb/c")
    (tmp_path / "file").touch()
    monkeypatch.setenv("REASONING_LAB_CACHE", str(tmp_path / "file"))
    cache = RowCache(cache_folder("a"))
    with pytest.raises(ConfigError, match="Set REASONING_LAB_CACHE to a folder that can be"):
        cache.where(lambda: ["x"])


@pytest.mark.parametrize(
    ("path", "asked", "inside"),
    [
        ("kaggle:owner/sums", ("owner/sums", None), ""),
        ("kaggle:owner/sums/versions/2/main", ("owner/sums/versions/2", None), "main"),
        ("kaggle:owner/sums/a/train.jsonl", ("owner/sums", "a/train.jsonl"), None),
    ],
)
def test_kaggle_gives_a_folder_or_a_file(
    path: str,
    asked: tuple[str, str | None],
    inside: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[str, str | None]] = []

    def download(handle: str, path: str | None = None) -> str:
        calls.append((handle, path))
        return str(tmp_path)

    monkeypatch.setattr(kagglehub, "dataset_download", download)
    assert local_folder(path, "k") == tmp_path / (inside or "")
    assert calls == [asked]


def test_rows_of_a_kaggle_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        row = json.dumps({"question": f"{split}?", "answer": "a #### 1"})
        (tmp_path / f"{split}.jsonl").write_text(row)
    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle: str(tmp_path))
    source = Gsm8k(path="kaggle:owner/sums")
    (example,) = source.examples(name="a", seed=0)
    assert example.id == "kaggle:owner/sums: train row 1"


def refused(message: str) -> Exception:
    return exceptions.KaggleApiHTTPError(message, response=requests.Response())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refused, "Kaggle refused.*KAGGLE_USERNAME"),
        (exceptions.UnauthenticatedError, "Kaggle refused"),
        (exceptions.DataCorruptionError, "the download is damaged.*Start again"),
        (requests.ConnectionError, "cannot be reached.*attach the data set"),
        (ValueError, "not a handle like kaggle:owner/dataset"),
    ],
)
def test_kaggles_refusals_are_told_with_a_remedy(
    error: Callable[[str], Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(handle: str) -> str:
        raise error("because")

    monkeypatch.setattr(kagglehub, "dataset_download", download)
    with pytest.raises(ConfigError, match=f"(?s)data.sources.a.path=kaggle:owner/sums: .*{told}"):
        list(Gsm8k(path="kaggle:owner/sums").examples(name="a", seed=0))
