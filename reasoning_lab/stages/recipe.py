"""The recipe for the stage that an experiment names."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import Experiment, differences, load, to_yaml
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import Paused, read_status
from reasoning_lab.stages import grpo, sft
from reasoning_lab.stages.parents import pinned, start_of
from reasoning_lab.stages.specs import GRPOSpec

_log = logging.getLogger(__name__)


def run(experiment: Experiment) -> RunFolder:
    """Train and evaluate: in a new run folder, or in `run_dir`, going on with what is there.

    Raises:
        ConfigError: what is missing or wrong, and what to do about it.
    """
    if experiment.warm_start is not None:
        start = start_of(experiment)
        with nullcontext() if start.run_dir is None else _alone_in(Path(start.run_dir)):
            parent = run(start)
        experiment = replace(experiment, warm_start=None, init_from=str(parent.path))
    experiment = pinned(experiment)
    folder = _claim(experiment)
    if folder.status_path.exists() and read_status(folder.status_path).state == "done":
        _log.info("%s is done already", folder.path)
        return folder
    with suppress(Paused):
        _train_and_evaluate(experiment, folder)
    return folder


def resume(folder: RunFolder) -> None:
    """Go on with an interrupted, failed or killed run from its newest checkpoint."""
    _train_and_evaluate(load(folder.config_path), folder)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process of this machine is at work in a folder, and keep others out."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _claim(experiment: Experiment) -> RunFolder:
    """The run's folder, with the experiment in it.

    Raises:
        ConfigError: `run_dir` holds a run that does something else.
    """
    if experiment.run_dir is None:
        stage = "grpo" if isinstance(experiment.stage, GRPOSpec) else "sft"
        name = [experiment.name] if experiment.name else []
        folder = RunFolder.create(experiment.runs_dir, stage, experiment.model.architecture, *name)
    else:
        folder = RunFolder.at(experiment.run_dir)
    if folder.config_path.exists():
        if different := differences(load(folder.config_path), experiment):
            raise ConfigError(
                f"run_dir={experiment.run_dir} holds another run: {'; '.join(different)}. "
                "Choose another folder."
            )
    else:
        # Without what is true of this attempt only, or of where the folder is now.
        kept = replace(experiment, run_dir=None, stop_at=None)
        write_atomically(folder.config_path, to_yaml(kept))
    return folder


def _train_and_evaluate(experiment: Experiment, folder: RunFolder) -> None:
    recipe = grpo if isinstance(experiment.stage, GRPOSpec) else sft
    recipe.train_and_evaluate(experiment, folder)
