"""Rows of .jsonl, .json, .csv and .parquet files, one after another, in constant memory.

Files are read here rather than by `datasets`, which guesses types: an answer of 1.50 in a CSV stays
1.50, and a line that is not JSON is named.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from reasoning_lab.config import ConfigError

Row = Mapping[str, Any]

_BATCH = 500
_CHARS_AT_ONCE = 1 << 20
_LONGEST_CELL = 1 << 26
_SPACE = re.compile(r"\s*")
_NUMBERED = re.compile(r'\{\s*"\d+"\s*:\s*\{')


@dataclass(frozen=True)
class RowFile:
    """A file of rows, wherever it is: its name, whose ending says its kind, and how to open it."""

    name: str
    open: Callable[[], BinaryIO]

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix


def local_files(path: Path, key: str, *, inside: Sequence[str] = ()) -> list[RowFile]:
    """The file, or all files of the folder that can be read, by name.

    If the folder itself holds none, they are looked for in the first of its folders `inside` that
    is there: `hf download` writes data/train-00000-of-00001.parquet.

    Raises:
        ConfigError: there is none.
    """
    path = path.expanduser()
    if not path.exists():
        raise ConfigError(f"{key}={path} does not exist (looked in {Path.cwd()}).", keys=[key])
    files = _tables(path)
    for name in inside:
        files = files or _tables(path / name)
    if not files:
        raise ConfigError(
            f"{key}={path} holds no table; the kinds that can be read are {', '.join(KINDS)}.",
            keys=[key],
        )
    return [RowFile(str(file), _opener(file)) for file in files]


def rows_of(files: Sequence[RowFile], *, start: int = 0) -> Iterator[Row]:
    """The rows of all files in turn, without the first `start` of them.

    Of Parquet files, what is skipped is not read, but for their footers.

    Raises:
        OSError, ValueError, csv.Error: a file cannot be read.
    """
    for file in files:
        with file.open() as stream:
            if file.suffix == ".parquet":
                from pyarrow import parquet  # type: ignore[import-untyped]

                table = parquet.ParquetFile(stream)
                if start < table.metadata.num_rows:
                    yield from _parquet_rows(table, start)
                start = max(0, start - table.metadata.num_rows)
                continue
            for row in _READERS[file.suffix](stream):
                if start > 0:
                    start -= 1
                elif isinstance(row, Mapping):
                    yield row
                else:
                    raise ValueError("it must hold one object per problem")


def rows_or_mistake(files: Sequence[RowFile], key: str) -> Iterator[Row]:
    """The rows of local files; what is wrong with one is a ConfigError that names it."""
    for file in files:
        try:
            yield from rows_of([file])
        except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8, JSON or Parquet
            raise ConfigError(f"{key}: {file.name} cannot be read: {error}", keys=[key]) from error


def _tables(path: Path) -> list[Path]:
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in found if file.suffix in KINDS and file.is_file()]


def _opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


def _parquet_rows(table: Any, start: int) -> Iterator[Row]:
    # Group by group, since of several at once some are read before they are wanted.
    for group in range(table.metadata.num_row_groups):
        size = table.metadata.row_group(group).num_rows
        if start >= size:
            start -= size
            continue
        for batch in table.iter_batches(batch_size=_BATCH, row_groups=[group]):
            yield from batch.slice(start).to_pylist()
            start = max(0, start - batch.num_rows)


def _jsonl_rows(stream: BinaryIO) -> Iterator[Any]:
    with io.TextIOWrapper(stream, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"line {number} is not JSON ({error})") from error


def _csv_rows(stream: BinaryIO) -> Iterator[Any]:
    csv.field_size_limit(_LONGEST_CELL)  # the default refuses long reasoning
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
        yield from csv.DictReader(lines, restkey="cells without a column", strict=True)


def _json_rows(stream: BinaryIO) -> Iterator[Any]:
    """The objects of a list, of {"0": {…}, "1": {…}}, or those that stand one after another."""
    with io.TextIOWrapper(stream, encoding="utf-8") as file:
        text = _JsonText(file)
        opening = text.peek()
        if opening == "[":
            text.skip()
            while text.peek() != "]":
                yield text.value()
                text.skip_comma("]")
        elif opening == "{" and text.starts_numbered():
            text.skip()
            while text.peek() != "}":
                text.value()
                text.expect(":")
                yield text.value()
                text.skip_comma("}")
        else:
            while text.peek():
                yield text.value()
            return
        text.skip()
        if text.peek():
            raise ValueError("there is text behind the end of the JSON")


class _JsonText:
    """JSON that is read value by value."""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file, self._buffer, self._at, self._ended = file, "", 0, False
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is no white space; '' at the end."""
        while True:
            space = _SPACE.match(self._buffer, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more():
                return ""

    def skip(self) -> None:
        self._at += 1

    def expect(self, sign: str) -> None:
        if self.peek() != sign:
            raise ValueError(f"it is not JSON: {sign} is missing")
        self.skip()

    def skip_comma(self, end: str) -> None:
        if self.peek() != end:
            self.expect(",")
            if self.peek() == end:
                raise ValueError(f"it is not JSON: nothing stands between , and {end}")

    def starts_numbered(self) -> bool:
        """Whether the text goes on as {"0": {, with any number."""
        while len(self._buffer) - self._at < 100 and self._more():
            pass
        return _NUMBERED.match(self._buffer, self._at) is not None

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self._decode(self._buffer, self._at)
            except json.JSONDecodeError:
                if not self._more():
                    raise
                continue
            # A number may go on behind what was read so far.
            if end < len(self._buffer) or self._ended:
                self._at = end
                return value
            self._more()

    def _more(self) -> bool:
        read = self._file.read(_CHARS_AT_ONCE)
        self._buffer, self._at = self._buffer[self._at :] + read, 0
        self._ended = not read
        return bool(read)


_READERS: dict[str, Callable[[BinaryIO], Iterator[Any]]] = {
    ".jsonl": _jsonl_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
}
KINDS = (*_READERS, ".parquet")
"""The endings of files that can be read."""
