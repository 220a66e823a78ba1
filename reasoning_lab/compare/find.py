"""Which runs a comparison is of: sweeps, run folders, run ids, and folders that hold them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reasoning_lab.config import ConfigError
from reasoning_lab.runs.folder import RunFolder

_SWEEP_FILE = "sweep.json"
_SWEEPS = "sweeps"  # the folder in runs_dir that sweeps are put into
_RUN_FILES = ("config.yaml", "status.json", "metrics.jsonl", "manifest.json")


@dataclass(frozen=True)
class Sweep:
    """A folder with sweep.json, which says what was varied and how each run is called.

    command: the launch.py line; axes: all values of each key, as typed; runs: what each run sets.
    """

    path: Path
    name: str
    command: str
    axes: Mapping[str, tuple[str, ...]]
    runs: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Found:
    """The folder of one run, which need not exist yet if it belongs to a sweep."""

    path: Path
    name: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    sweep: Sweep | None = None


def find_runs(paths: Sequence[str | Path], runs_dir: str | Path = "runs") -> list[Found]:
    """The runs that the arguments name, each once, with names of their own.

    Args:
        paths: folders of sweeps and runs, folders that hold some, ids of runs in `runs_dir`,
            and names of sweeps there.

    Raises:
        ConfigError: there is nothing of the kind, or a sweep.json cannot be read.
    """
    found: dict[Path, Found] = {}
    for path in paths:
        for one in _found_at(_folder(path, runs_dir)):
            known = found.get(one.path)
            if known is None or (known.sweep is None and one.sweep is not None):
                found[one.path] = one  # what a sweep says of a run is more than the run says
    if not found:
        raise ConfigError(f"There are no runs in {', '.join(map(str, paths)) or 'no folder'}.")
    return _with_names_of_their_own(list(found.values()))


def _folder(path: str | Path, runs_dir: str | Path) -> Path:
    for folder in (Path(path), Path(runs_dir) / path, Path(runs_dir) / _SWEEPS / path):
        if folder.is_dir() and (_is_run_or_sweep(folder) or list(_members(folder))):
            return folder.resolve()
    if Path(path).is_dir():
        raise ConfigError(
            f"{path} is neither a run nor a sweep, and holds none. "
            f"A run has a config.yaml, a sweep a {_SWEEP_FILE}."
        )
    return RunFolder.open(path, runs_dir).path  # "latest", or an error that says what there is


def _is_run_or_sweep(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (_SWEEP_FILE, *_RUN_FILES))


def _members(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_dir() and _is_run_or_sweep(path))


def _found_at(folder: Path) -> Iterator[Found]:
    if (folder / _SWEEP_FILE).is_file():
        sweep = read_sweep(folder)
        for name, overrides in sweep.runs.items():
            yield Found(folder / name, name, overrides, sweep)
    elif _is_run_or_sweep(folder):
        yield Found(folder, folder.name)
    else:
        for member in _members(folder):
            yield from _found_at(member.resolve())


def read_sweep(folder: Path) -> Sweep:
    """What the sweep.json in a folder says.

    Raises:
        ConfigError: it is not what a sweep writes.
    """
    path = folder / _SWEEP_FILE
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Sweep(
            path=folder.resolve(),
            name=str(record.get("name") or folder.name),
            command=str(record.get("command") or ""),
            axes={
                str(key): tuple(map(str, values)) for key, values in record.get("axes", {}).items()
            },
            runs={
                str(name): {str(key): str(value) for key, value in overrides.items()}
                for name, overrides in record["runs"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not what a sweep writes ({type(error).__name__}: {error}). "
            f"Compare its runs without it: python -m reasoning_lab compare {folder}/*/"
        ) from error


def _with_names_of_their_own(found: list[Found]) -> list[Found]:
    count = Counter(one.name for one in found)
    named = [
        replace(one, name=f"{one.path.parent.name}/{one.name}") if count[one.name] > 1 else one
        for one in found
    ]
    count = Counter(one.name for one in named)
    return [replace(one, name=str(one.path)) if count[one.name] > 1 else one for one in named]
