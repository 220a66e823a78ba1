"""Which runs a sweep consists of: every point validated before the first one starts."""

import hashlib
import itertools
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reasoning_lab.config import ConfigError, composition
from reasoning_lab.config.axes import Axis, value_of
from reasoning_lab.config.build import HOUSEKEEPING
from reasoning_lab.config.mistakes import in_one_message
from reasoning_lab.experiment import Experiment, compose
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages.specs import GRPOSpec
from reasoning_lab.sweeps.specs import AshaSpec

SAID = "on the command line"
SEED = "seed"
_LONGEST_NAME = 140  # of 255 that file systems allow: wandb and checkpoints add to it
# What changes nothing in the runs, and so does not make it another sweep.
_BESIDE_THE_POINT = (HOUSEKEEPING | {"hydra"}) - {"name"}  # a name makes it another sweep


@dataclass(frozen=True)
class Point:
    """One run that is asked for.

    path: its folder. values: by axis and seed, as typed. chosen: overrides that say what it does.
    stop_at: the step to pause after; None: the run goes on to its end.
    """

    path: Path
    values: Mapping[str, str]
    chosen: tuple[str, ...]
    experiment: Experiment
    stop_at: int | None = None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def overrides(self) -> tuple[str, ...]:
        """All that launch.py needs to make or go on with this very run."""
        group = self.experiment.tracking.group or self.path.parent.name
        return (
            *self.chosen,
            f"run_dir={quoted(self.path)}",
            f"tracking.group={quoted(group)}",
            *([] if self.stop_at is None else [f"stop_at={self.stop_at}"]),
        )

    def renamed(self, name: str) -> "Point":
        path = self.path.with_name(name)
        return replace(self, path=path, experiment=replace(self.experiment, run_dir=str(path)))


@dataclass(frozen=True)
class Request:
    """A sweep as the command line asks for it.

    fixed: overrides that all runs share. axes: by key. hydra: where configs are found.
    """

    hydra: tuple[str, ...]
    fixed: tuple[str, ...]
    axes: Mapping[str, Axis]
    base: Experiment

    @property
    def name(self) -> str:
        """Given, or the same for the same command but for values and seeds."""
        if self.base.sweep.name:
            return self.base.sweep.name
        keys = [key for key in self.axes if key != SEED]
        kept = [text for text in self.fixed if not _is_beside_the_point(text)]
        digest = _digest(" ".join([*sorted(kept), *sorted(keys)]))
        stage = "grpo" if isinstance(self.base.stage, GRPOSpec) else "sft"
        return "-".join([stage, *map(_leaf, keys), digest])[:_LONGEST_NAME]

    @property
    def path(self) -> Path:
        return Path(self.base.runs_dir).resolve() / "sweeps" / self.name

    def point(self, values: Mapping[str, str]) -> Point:
        """The run with one value for each axis.

        Raises:
            ConfigError: they are wrong or do not go together.
        """
        chosen = [f"{key}={value}" for key, value in values.items()]
        experiment = compose([*self.hydra, *self.fixed, *chosen], SAID)
        named = {**values, SEED: str(experiment.seed)}
        path = self.path / run_name(named)
        experiment = replace(experiment, run_dir=str(path))
        return Point(path, named, (*self.fixed, *chosen), experiment)


def read_request(overrides: Sequence[str]) -> Request:
    """What the command line asks for.

    Raises:
        ConfigError: a mistake in what all runs share, or a key that cannot be swept.
    """
    shared, axes = composition.split_sweep(overrides, SAID)
    hydra = [text for text in shared if text.lstrip("+~").startswith("hydra")]
    fixed = [text for text in shared if text not in hydra]
    searched = [text for text in hydra if text.startswith("hydra.searchpath")]
    first = [f"{key}={axis.ends[0]}" for key, axis in axes.items()]
    composition.compose_config([*searched, *fixed, *first], SAID)  # is every key there?
    base = _base([*searched, *fixed], first)
    if hidden := [key for key in axes if _is_beside_the_point(key) and key != SEED]:
        raise ConfigError(f"{hidden[0]} ({SAID}) cannot be swept: it changes nothing in a run.")
    if isinstance(base.sweep, AshaSpec) and SEED in axes:
        raise ConfigError(f"seed ({SAID}) is nothing to search for. Give sweep=asha one seed.")
    return Request(hydra=tuple(searched), fixed=tuple(fixed), axes=axes, base=base)


def grid(request: Request) -> list[Point]:
    """Every combination of the values, each once, in the order typed.

    Raises:
        ConfigError: all mistakes of all points; or an axis without a list of values.
    """
    if drawn := [key for key, axis in request.axes.items() if not axis.values]:
        raise ConfigError(
            f"{drawn[0]} ({SAID}) has no list of values for a grid. "
            f"Write {drawn[0]}=1,2,3, or search with sweep=asha."
        )
    keys = list(request.axes)
    combinations = itertools.product(*(axis.values for axis in request.axes.values()))
    return _validated(request, [dict(zip(keys, values, strict=True)) for values in combinations])


def corners(request: Request) -> list[Point]:
    """Points with the first and the last value of each axis, to validate a search space by.

    Raises:
        ConfigError: all mistakes of all points.
    """
    ends = {key: axis.ends for key, axis in request.axes.items()}
    middle = {key: values[0] for key, values in ends.items()}
    chosen = [middle | {key: value} for key, values in ends.items() for value in values]
    return _validated(request, chosen or [{}])


def folder_of(overrides: Sequence[str]) -> RunFolder:
    """The folder that a point's overrides give its run."""
    given = [text for text in overrides if text.startswith("run_dir=")]
    if not given:
        raise ConfigError("This launcher needs hydra/sweeper=lab, which gives runs their folders.")
    return RunFolder(Path(str(value_of(given[-1]))))


def quoted(value: object) -> str:
    """A string as an override of Hydra's takes it: in quotes unless it can only be a string."""
    text = str(value)
    words = ("true", "false", "null", "nan", "inf")
    if re.fullmatch(r"[A-Za-z_/][\w./+-]*", text, flags=re.ASCII) and text.lower() not in words:
        return text
    return "'" + text.replace("'", "\\'") + "'"


def command(overrides: Sequence[str] | None = None) -> str:
    """The line that was typed, to be typed again."""
    words = sys.argv[1:] if overrides is None else overrides
    return shlex.join(["python", "launch.py", *words])


def _validated(request: Request, chosen: Sequence[Mapping[str, str]]) -> list[Point]:
    points: dict[str, Point] = {}
    wrong: dict[str, list[str]] = {}
    for values in chosen:
        try:
            point = request.point(values)
        except ConfigError as error:
            where = " ".join(f"{key}={value}" for key, value in values.items())
            for mistake in re.split(r"\n  - ", re.sub(r"^\d+ mistakes:", "", str(error))):
                if mistake:
                    wrong.setdefault(mistake, []).append(where)
        else:
            points.setdefault(point.name, point)
    if wrong:
        raise ConfigError(in_one_message(list(_explained(wrong, len(chosen)))))
    return list(points.values())


def _explained(wrong: Mapping[str, Sequence[str]], count: int) -> Iterator[str]:
    for message, where in wrong.items():
        if count > 1 and where[0]:
            yield f"{message}\n  in {len(where)} of {count} runs, such as {where[0]}"
        else:
            yield message


def _base(fixed: Sequence[str], first: Sequence[str]) -> Experiment:
    """What the runs have in common. Where that alone does not validate, as reward=math without the
    stage that an axis brings, the first value of every axis is taken too."""
    try:
        return compose(fixed, SAID)
    except ConfigError:
        return compose([*fixed, *first], SAID)


def run_name(values: Mapping[str, str]) -> str:
    """Such as rank=8+beta=0.02+seed=0; what a folder's name cannot hold is told apart by a hash."""
    leaves = [_leaf(key) for key in values]
    parts = [
        f"{leaf if leaves.count(leaf) == 1 else key}={value}"
        for leaf, (key, value) in zip(leaves, values.items(), strict=True)
    ]
    text = "+".join(parts)
    name = re.sub(r"[^\w.=+-]+", "_", text, flags=re.ASCII)
    name = re.sub(r"(?<==)_+|_+(?=\+|$)", "", name)
    if name != text or len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}.{_digest(text)}"
    return name


def _leaf(key: str) -> str:
    return re.sub(r"\W+", "_", key.rpartition(".")[2], flags=re.ASCII).strip("_")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _is_beside_the_point(text: str) -> bool:
    key = re.split(r"[.=@/]", text.lstrip("+~"))[0]
    return key in (*_BESIDE_THE_POINT, SEED)
