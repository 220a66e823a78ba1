"""Which run another begins with: `init_from`, or a warm start that is yet to be made.

Apart from lineage.py because this needs no JAX, and sweeps ask before anything runs.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from reasoning_lab.config import ConfigError
from reasoning_lab.config.build import to_mapping
from reasoning_lab.experiment import Experiment, load, what_is_learned
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages.specs import SFTSpec

WARM_STARTS = "warm_starts"  # the folder beside runs that share their beginnings


@dataclass(frozen=True)
class Parent:
    """The run whose LoRA weights another begins with."""

    folder: RunFolder
    experiment: Experiment

    @property
    def stage_name(self) -> str:
        """How tables call its model."""
        return "SFT" if isinstance(self.experiment.stage, SFTSpec) else "GRPO before"


def parent_of(experiment: Experiment) -> Parent | None:
    """The run named by `init_from`; none if training begins with the stock model.

    Raises:
        ConfigError: there is no such run, or it trained another model or other adapters.
    """
    if experiment.init_from is None:
        return None
    try:
        folder = RunFolder.open(experiment.init_from, experiment.runs_dir)
    except ConfigError as error:
        raise ConfigError(f"init_from={experiment.init_from}: {error}") from error
    parent = Parent(folder, load(folder.config_path))
    differences = [
        f"{group}.{key} is {was} there and {now} here"
        for group in ("model", "lora")
        for key, now, was in _compared(
            getattr(experiment, group), getattr(parent.experiment, group)
        )
    ]
    if differences:
        raise ConfigError(
            f"init_from={experiment.init_from}: {folder.id} has other adapters: "
            f"{'; '.join(differences)}. Use the run's own, or another run."
        )
    return parent


def pinned(experiment: Experiment) -> Experiment:
    """The experiment with `init_from` naming its run for good: "latest" will soon be another."""
    parent = parent_of(experiment)
    if parent is None:
        return experiment
    return replace(experiment, init_from=name_for_good(parent.folder.path, experiment.runs_dir))


def name_for_good(run: Path, runs_dir: str) -> str:
    """What `init_from` calls a run: where it is in `runs_dir`, so that both can move together."""
    run, runs = run.resolve(), Path(runs_dir).resolve()
    return str(run.relative_to(runs)) if run.is_relative_to(runs) else os.path.relpath(run)


def settled(experiment: Experiment) -> Experiment:
    """An experiment with a `run_dir` as that folder will keep it: its beginning named for good.

    Raises:
        ConfigError: `init_from` names no run.
    """
    if experiment.warm_start is None:
        return pinned(experiment)
    start = Path(start_of(experiment).run_dir or "")
    return replace(experiment, warm_start=None, init_from=name_for_good(start, experiment.runs_dir))


def start_of(experiment: Experiment) -> Experiment:
    """The supervised fine-tuning that an experiment begins with, as a run of its own.

    Runs with a `run_dir` share it with those beside them that begin in the same way.
    """
    assert experiment.warm_start is not None
    start = replace(
        experiment,
        stage=experiment.warm_start,
        reward={},
        warm_start=None,
        stop_at=None,
        # The base model is measured at the end, on the same problems.
        evaluation=replace(experiment.evaluation, baseline=False),
    )
    if experiment.run_dir is None:
        return start
    text = json.dumps(what_is_learned(start), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    shared = Path(experiment.run_dir).parent / WARM_STARTS / f"sft-{digest}"
    return replace(start, run_dir=str(shared))


def _compared(here: object, there: object) -> Iterator[tuple[str, object, object]]:
    """(key, value here, value there) of the keys in which two specs differ."""
    ours, theirs = to_mapping(here), to_mapping(there)
    yield from ((key, ours[key], theirs[key]) for key in ours if ours[key] != theirs[key])
