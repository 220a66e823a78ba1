"""The folder of a sweep: what it consists of, and that one process at a time is at work in it."""

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasoning_lab.config import ConfigError
from reasoning_lab.config.mistakes import shown
from reasoning_lab.experiment import Experiment, differences, load, what_it_does
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.stages.parents import settled
from reasoning_lab.sweeps.plan import Point, quoted, run_name


@dataclass(frozen=True)
class SweepFolder:
    """`sweep.json`, and beside it one folder for each run."""

    path: Path

    @classmethod
    def open(cls, sweep: str | Path, runs_dir: str | Path = "runs") -> "SweepFolder":
        """Find a sweep by the path of its folder or by its name in `runs_dir`.

        Raises:
            ConfigError: there is no such sweep; says which there are.
        """
        sweeps = Path(runs_dir) / "sweeps"
        for path in (Path(sweep), sweeps / sweep):
            folder = cls(path.resolve())
            if folder.sweep_path.is_file():
                return folder
        known = "".join(f"\n  {path.parent.name}" for path in sorted(sweeps.glob("*/sweep.json")))
        raise ConfigError(
            f"There is no sweep {str(sweep)!r}: neither that path nor {sweeps / sweep} is a folder "
            f"with a sweep.json. Sweeps in {sweeps}:{known or ' none'}"
        )

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def sweep_path(self) -> Path:
        return self.path / "sweep.json"

    @property
    def table_path(self) -> Path:
        """The state of every run, to be read by people."""
        return self.path / "runs.md"

    @property
    def comparison_dir(self) -> Path:
        return self.path / "comparison"

    def read(self) -> dict[str, Any]:
        """{"name", "command", "axes": {key: values}, "runs": {name: {key: value}}}.

        Raises:
            ConfigError: sweep.json is no such record.
        """
        if not self.sweep_path.exists():
            return {"name": self.name, "command": "", "axes": {}, "runs": {}}
        try:
            record: dict[str, Any] = json.loads(self.sweep_path.read_text(encoding="utf-8"))
            record["axes"], record["runs"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self.sweep_path} does not describe a sweep ({error!r}). Delete that file: "
                "the runs beside it are found all the same."
            ) from error
        return record

    def any_experiment(self) -> Experiment:
        """That of one of the runs here.

        Raises:
            ConfigError: none has begun, or can be read.
        """
        here, unreadable = self._experiments()
        if not here:
            why = next(iter(unreadable.values()), "No run has begun.")
            raise ConfigError(f"{self.path}: {why}")
        return next(iter(here.values()))

    def add(self, points: Sequence[Point], command: str) -> None:
        """Put runs down in sweep.json, with those that are there already."""
        record = self.read()
        runs = {**record["runs"], **{point.name: dict(point.values) for point in points}}
        keys = dict.fromkeys(key for values in runs.values() for key in values)
        here, _ = self._experiments()
        axes: dict[str, list[str]] = {}
        for name, values in runs.items():
            if name in here:  # runs from before an axis was added have a value of it, too
                values |= {k: v for k in keys - values.keys() if (v := _value(here[name], k))}
            for key, value in values.items():
                if value not in axes.setdefault(key, []):
                    axes[key].append(value)
        record |= {"name": self.name, "command": command, "axes": axes, "runs": runs}
        write_atomically(self.sweep_path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def at_home(self, points: Sequence[Point]) -> list[Point]:
        """The same points, named by the axes of this sweep as well as by their own; or, if a run
        is here already that does the same, like that run.

        Raises:
            ConfigError: the runs here are of another experiment.
        """
        here, unreadable = self._experiments()
        points = [_with_its_beginning(self._completed(point)) for point in points]
        wanted = {point.name: settled(point.experiment) for point in points}
        for point in points:
            if point.name in unreadable:
                raise ConfigError(
                    f"{point.path} was made by another version: {unreadable[point.name]} "
                    f"Move it away, or choose another name: sweep.name={self.name}-2."
                )
        self._check_same_experiment(here, wanted, points)
        by_what = {_key(experiment): name for name, experiment in here.items()}
        return [
            point.renamed(by_what.get(_key(wanted[point.name]), point.name)) for point in points
        ]

    def _completed(self, point: Point) -> Point:
        """A point with a value for every axis of this sweep."""
        known = [key for key in self.read()["axes"] if key not in point.values]
        told = dict(text.split("=", 1) for text in point.chosen if "=" in text)
        added = {key: told.get(key) or _value(point.experiment, key) for key in known}
        values = {key: value for key, value in added.items() if value} | dict(point.values)
        return replace(point, values=values).renamed(run_name(values)) if added else point

    def _experiments(self) -> tuple[dict[str, Experiment], dict[str, str]]:
        """Experiments of the runs here by name, and why others cannot be read."""
        readable, unreadable = {}, {}
        for path in sorted(self.path.glob("*/config.yaml")):
            try:
                readable[path.parent.name] = load(path)
            except ConfigError as error:
                unreadable[path.parent.name] = str(error)
        return readable, unreadable

    def _check_same_experiment(
        self,
        here: Mapping[str, Experiment],
        wanted: Mapping[str, Experiment],
        points: Sequence[Point],
    ) -> None:
        """What is not swept must be the same in the runs that are here and in those to come."""
        if not here or not points:
            return
        name, old = next(iter(here.items()))
        new = wanted[points[0].name]
        swept = {*self.read()["axes"], *(key for point in points for key in point.values)}
        different = [
            text for text in differences(old, new) if not _is_swept(text.split(" is ")[0], swept)
        ]
        if different:
            raise ConfigError(
                f"{self.path} holds runs of another experiment: {'; '.join(different[:5])} "
                f"(in {name} and in this one). Choose another name: sweep.name={self.name}-2."
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes of this machine out while the block runs.

        Raises:
            ConfigError: one is at work here already.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(
                    f"{self.path}: another process is running this sweep. Watch it with "
                    f"python -m reasoning_lab watch {self.path}, or choose another sweep.name."
                ) from error
            yield


def _with_its_beginning(point: Point) -> Point:
    """A point whose `init_from` names its run for good: "latest" may be another one tomorrow."""
    given = point.experiment.init_from
    if given is None:
        return point
    name = settled(point.experiment).init_from
    return replace(point, chosen=(*point.chosen, f"init_from={quoted(name)}"))


def _is_swept(key: str, swept: set[str]) -> bool:
    """Whether a key is an axis, or in a group that is chosen by one."""
    if swept & {"experiment", "sweeps"}:  # they may change anything
        return True
    groups = {axis.lstrip("+~").split("@")[-1].split("/")[0] for axis in swept} | swept
    parts = key.split(".")
    above = {".".join(parts[: i + 1]) for i in range(len(parts))}
    return bool(above & groups) or key in ("init_from", "seed")


def _value(experiment: Experiment, key: str) -> str:
    """What an experiment has at a dotted key, as people type it; "" for a config group."""
    value = what_it_does(experiment).get(key)
    return "" if value is None else shown(value)


def _key(experiment: Experiment) -> str:
    return json.dumps(what_it_does(experiment), sort_keys=True)
