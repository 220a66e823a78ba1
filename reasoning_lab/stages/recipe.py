"""The recipe for the stage that an experiment names."""

import fcntl
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import Experiment, compose_hardware, differences, load, to_yaml
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import Paused, read_status
from reasoning_lab.stages import grpo, sft
from reasoning_lab.stages.parents import pinned, start_of
from reasoning_lab.stages.specs import GRPOSpec
from reasoning_lab.stages.together import folder_for_process

_log = logging.getLogger(__name__)


def run(experiment: Experiment) -> RunFolder:
    """Train and evaluate: in a new run folder, or in `run_dir`, going on with what is there.

    Raises:
        ConfigError: what is missing or wrong, and what to do about it.
    """
    if experiment.warm_start is not None and experiment.hardware.hosts > 1:
        raise ConfigError(
            f"hardware.hosts={experiment.hardware.hosts}: stage@warm_start works on one host. Make "
            "that run first (stage=sft), and begin with it: init_from=RUN."
        )
    if experiment.warm_start is not None:
        start = start_of(experiment)
        with nullcontext() if start.run_dir is None else _alone_in(Path(start.run_dir)):
            parent = run(start)
        experiment = replace(experiment, warm_start=None, init_from=str(parent.path))
    experiment = pinned(experiment)
    with folder_for_process(experiment, lambda: _claim(experiment)) as folder:
        if folder.status_path.exists() and read_status(folder.status_path).state == "done":
            _log.info("%s is done already", folder.path)
            return folder
        with suppress(Paused):
            _train_and_evaluate(experiment, folder)
        return folder


def resume(folder: RunFolder, overrides: Sequence[str] = ()) -> None:
    """Go on with an interrupted, failed or killed run from its newest checkpoint.

    Args:
        overrides: of the hardware, such as "hardware=cpu", to go on elsewhere.

    Raises:
        ConfigError: a mistake in them, or an override of anything else.
    """
    experiment = load(folder.config_path)
    if overrides:
        hardware = compose_hardware(overrides, experiment.hardware)
        experiment = replace(experiment, hardware=hardware)
    with folder_for_process(replace(experiment, run_dir=str(folder.path)), lambda: folder) as here:
        _train_and_evaluate(experiment, here)


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
