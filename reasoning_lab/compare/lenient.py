"""Files of a run, read as far as they can be; what cannot is said in a sentence."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from reasoning_lab.compare.comparison import Series

_LARGEST_STEP = 2.0**53  # above, floats are no longer whole numbers one by one


def read_content(path: Path, trouble: list[str]) -> bytes | None:
    """What is in a file; None if it is missing or may not be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        trouble.append(f"{path.name} cannot be read ({error.strerror}).")
        return None


def read_records(path: Path, trouble: list[str]) -> list[dict[str, Any]]:
    """The records of a JSON-lines file that can be read; a torn last line is being written."""
    text = (read_content(path, trouble) or b"").decode("utf-8", errors="replace")
    text = text[: text.rfind("\n") + 1].rstrip("\n")
    try:  # all lines at once take half the time
        records = json.loads("[" + text.replace("\n", ",") + "]")
    except ValueError:
        records = list(map(_parsed, text.split("\n")))
    good = [record for record in records if isinstance(record, dict)]
    if len(good) < len(records):
        count = len(records) - len(good)
        trouble.append(f"{path.name}: {count} of {len(records)} lines are corrupt and left out.")
    return good


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def read_series(path: Path, trouble: list[str]) -> dict[str, Series]:
    """All metrics of a metrics.jsonl, in the order of appearance, without those of no number."""
    by_names: defaultdict[tuple[str, ...], list[list[Any]]] = defaultdict(list)
    strange = 0
    for record in read_records(path, trouble):
        if "step" in record:
            by_names[tuple(record)].append(list(record.values()))
        else:
            strange += 1
    columns: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for names, rows in by_names.items():
        table = _as_numbers(rows)
        steps = table[:, names.index("step")]
        usable = np.abs(steps) < _LARGEST_STEP  # and no NaN
        strange += int((~usable).sum())
        for number, name in enumerate(names):
            if name not in ("step", "time"):
                one = (steps[usable].astype(np.int64), table[usable, number])
                columns.setdefault(name, []).append(one)
    if strange:
        trouble.append(f"{path.name}: {strange} records have no step and are left out.")
    joined = {name: _join(parts) for name, parts in columns.items()}
    return {name: one for name, one in joined.items() if len(one.steps)}


def _join(parts: list[tuple[np.ndarray, np.ndarray]]) -> Series:
    steps = np.concatenate([steps for steps, _ in parts])
    values = np.concatenate([values for _, values in parts])
    order = np.argsort(steps, kind="stable")
    return Series(steps[order], values[order])


def _as_numbers(rows: list[list[Any]]) -> np.ndarray:
    """float64[records, names]; "NaN" and "Infinity" as the numbers they stand for."""
    try:
        return np.array(rows, np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array([[as_number(value) for value in row] for row in rows], np.float64)


def as_number(value: Any) -> float:
    """What a JSON value is as a number; NaN if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
