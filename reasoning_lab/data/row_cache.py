"""Rows of a hub data set kept on disk, a thousand to a file, so that they are streamed once.

A folder holds `where.json` (the commit and its files, as they were when first asked for), chunks
`000180.jsonl.gz` with rows 180,000 to 180,999 of the split, any of which may be missing, and, once
the end was seen, `end.json`. Every file is complete or not there.
"""

import gzip
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reasoning_lab.config import ConfigError
from reasoning_lab.data.row_files import Row

CHUNK = 1000


def cache_folder(*names: str) -> Path:
    """The folder of one split; REASONING_LAB_CACHE or XDG_CACHE_HOME moves it."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "reasoning_lab"
    root = Path(os.environ.get("REASONING_LAB_CACHE") or home)
    return root.joinpath("data", *(quote(name, safe="") for name in names))


class RowCache:
    """The rows of one split at one commit, from disk where they are and else from the hub."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def where(self, resolve: Callable[[], Sequence[str]]) -> list[str]:
        """The addresses of the split's files: those that were found first, whatever changed since.

        So a run that is resumed reads the rows that it began with.
        """
        file = self._folder / "where.json"
        if not file.exists():
            self._write(file, json.dumps(list(resolve()), indent=1).encode())
        found: list[str] = json.loads(file.read_text("utf-8"))
        return found

    def rows(self, start: int, stream: Callable[[int], Iterator[Row]]) -> Iterator[Row]:
        """The rows from number `start` (counted from 0) to the end of the split.

        `stream` gives those from a number on; it is asked for only what is not here.
        """
        streamed: Iterator[Row] | None = None
        for number in count(start // CHUNK):
            chunk = self._read(number)
            if chunk is None and number * CHUNK >= self._end():
                return
            if chunk is None:
                streamed = streamed or stream(number * CHUNK)
                chunk = self._keep(number, list(islice(streamed, CHUNK)))
            else:
                streamed = None
            yield from chunk[max(0, start - number * CHUNK) :]
            if len(chunk) < CHUNK:
                return

    def _read(self, number: int) -> list[Row] | None:
        file = self._chunk(number)
        if not file.exists():
            return None
        return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]

    def _keep(self, number: int, rows: list[Row]) -> list[Row]:
        """The rows as they will be read from disk: dates, for one, have become text."""
        lines = [json.dumps(dict(row), default=str).encode() for row in rows]
        if rows:
            packed = gzip.compress(b"\n".join(lines), compresslevel=3, mtime=0)
            self._write(self._chunk(number), packed)
        # A start far behind the end finds no rows either, and says nothing of where the end is.
        if len(rows) < CHUNK and (rows or number == 0 or self._chunk(number - 1).exists()):
            end = number * CHUNK + len(rows)
            self._write(self._folder / "end.json", json.dumps({"rows": end}).encode())
        return [json.loads(line) for line in lines]

    def _end(self) -> float:
        file = self._folder / "end.json"
        if not file.exists():
            return float("inf")
        end: Any = json.loads(file.read_text("utf-8"))
        return float(end["rows"])

    def _chunk(self, number: int) -> Path:
        return self._folder / f"{number:06}.jsonl.gz"

    def _write(self, file: Path, content: bytes) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as written:
                written.write(content)
            os.replace(written.name, file)
        except OSError as error:
            raise ConfigError(
                f"{file}: rows that were streamed cannot be kept here ({error}). Set "
                "REASONING_LAB_CACHE to a folder that can be written."
            ) from error
