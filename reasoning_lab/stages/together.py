"""The folder of a run that several hosts make together: the first writes, the others copy."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.engine import devices, hosts
from reasoning_lab.experiment import Experiment
from reasoning_lab.runs.folder import RunFolder


@contextmanager
def folder_for_process(
    experiment: Experiment, claim: Callable[[], RunFolder]
) -> Iterator[RunFolder]:
    """What `claim` returns or, for a process that is not the first, a passing copy of it.

    In a copy the recipe can run unchanged; checkpoints, which all write together, are in the
    folder itself. All hosts must see it under the same path.

    Raises:
        ConfigError: the other hosts cannot be found; what `claim` raises.
        RunError: the first process could not claim the folder.
    """
    if experiment.hardware.hosts == 1:
        yield claim()
        return
    if experiment.run_dir is None:
        raise ConfigError(
            f"hardware.hosts={experiment.hardware.hosts} must agree on a folder that all of them "
            "see. Add run_dir=PATH."
        )
    devices.choose(experiment.hardware)
    if hosts.number() == 0:
        with _telling_others():
            folder = claim()
        hosts.wait("copied")
        yield folder
        return
    if not hosts.as_first_has_it(np.False_):
        raise RunError("The first process could not begin: see what it says.")
    shared = Path(experiment.run_dir).resolve()
    with tempfile.TemporaryDirectory() as place:
        copy = RunFolder(Path(place) / shared.name, shared=shared)
        checkpoints = [path.name for path in (copy.checkpoints_dir, copy.best_dir)]
        shutil.copytree(shared, copy.path, ignore=shutil.ignore_patterns(*checkpoints))
        hosts.wait("copied")
        yield copy


@contextmanager
def _telling_others() -> Iterator[None]:
    """Let the other processes know whether the block went through."""
    try:
        yield
    except BaseException:
        hosts.as_first_has_it(np.False_)
        raise
    hosts.as_first_has_it(np.True_)
