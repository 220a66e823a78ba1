"""Files of one JSON object a line: appended whole or not at all, read back past a torn end."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from reasoning_lab.config import ConfigError
from reasoning_lab.runs.files import DiskFullError, naming_full_disk, write_atomically

Record = dict[str, Any]


class RecordWriter:
    """Appends records to a JSON-lines file; each has left the process when `append` returns.

    Args:
        path: the file; made if missing. A line torn by an earlier crash is cut off, so that
            nothing is glued to it.
        resume_step: the step a restored checkpoint stands at. Records whose "step" is later are
            dropped, since those steps are about to be taken again.
    """

    def __init__(self, path: Path, *, resume_step: int | None = None) -> None:
        if resume_step is not None:
            kept = (record for record in read_records(path) if record["step"] <= resume_step)
            write_atomically(path, "".join(map(_to_line, kept)))
        self._path = path
        with naming_full_disk(path):
            self._file = path.open("ab", buffering=0)
        self._file.truncate(path.read_bytes().rfind(b"\n") + 1)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record; NaN and infinities become the strings "NaN" and "±Infinity".

        Raises:
            DiskFullError: no space; the part of the line that did fit is taken back.
        """
        line = _to_line(record).encode()
        start = self._path.stat().st_size
        written = 0
        try:
            with naming_full_disk(self._path):
                written = self._file.write(line)
            if written < len(line):  # how a disk that fills up in the middle of a line reports it
                raise DiskFullError(self._path)
        finally:
            if written < len(line):
                self._file.truncate(start)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_records(path: Path) -> list[Record]:
    """The records of a JSON-lines file, in order; none if there is no file.

    A last line without its line end was being written when the process died, and is left out.

    Raises:
        ConfigError: a line before the end is not a JSON object.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end is torn or empty
    return [_from_line(path, number, line) for number, line in enumerate(lines, start=1)]


def _to_line(record: Mapping[str, Any]) -> str:
    return json.dumps(as_json(record), ensure_ascii=False, allow_nan=False) + "\n"


def as_json(value: Any) -> Any:
    """The value with NaN and infinities as the strings "NaN" and "±Infinity"."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [as_json(item) for item in value]
    return value


def _from_line(path: Path, number: int, line: bytes) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ConfigError(
            f"{path}, line {number} is not valid JSON ({error}). Repair or delete that line."
        ) from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path}, line {number} is not a JSON object. Delete that line.")
    return record
