"""Our sweeper and launchers where Hydra looks for plugins; hydra/sweeper and hydra/launcher name
them. Hydra imports this at every start, so what they do is imported when they do it."""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from reasoning_lab.sweeps.machine import Machine


@dataclass
class LabSweeperConfig:
    """params: axes of a sweep as a file in sweeps/ gives them."""

    _target_: str = "hydra_plugins.reasoning_lab_plugins.LabSweeper"
    params: dict[str, Any] = field(default_factory=dict)


@dataclass
class WarmLauncherConfig:
    _target_: str = "hydra_plugins.reasoning_lab_plugins.WarmLauncher"


@dataclass
class CommandsLauncherConfig:
    _target_: str = "hydra_plugins.reasoning_lab_plugins.CommandsLauncher"
    python: str = "python"
    machine: Machine = field(default_factory=Machine)


class LabSweeper(Sweeper):
    """Grids that go on where they stopped, and searches; see reasoning_lab/sweeps/."""

    def __init__(self, params: dict[str, Any]) -> None:
        del params  # read with the rest of the command line

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from reasoning_lab.config import ConfigError
        from reasoning_lab.plain_errors import plain_errors
        from reasoning_lab.sweeps.plan import read_request

        with plain_errors():
            overrides = [*search_path(config), *config.hydra.overrides.task]
            self._request = read_request(overrides)
        config.hydra.sweep.dir = str(self._request.path)
        with plain_errors():
            try:
                self._launcher = Plugins.instance().instantiate_launcher(
                    hydra_context, task_function, config
                )
            except HydraException as error:  # its keys are not checked before, where + adds them
                raise ConfigError(f"hydra/launcher cannot be made: {error}") from error
            self._check_results_are_seen()
        self._launched = 0

    def sweep(self, arguments: list[str]) -> None:
        from reasoning_lab.plain_errors import plain_errors
        from reasoning_lab.sweeps.conduct import conduct

        with plain_errors():
            try:
                conduct(self._request, self._launch)
            finally:
                if isinstance(self._launcher, WarmLauncher):
                    self._launcher.close()

    def _launch(self, points: Sequence[Any]) -> None:
        from reasoning_lab.config import RunError
        from reasoning_lab.runs.folder import RunFolder
        from reasoning_lab.runs.status import mark_failed

        jobs = [list(point.overrides) for point in points]
        try:
            returned = self._launcher.launch(jobs, initial_job_idx=self._launched)
        except Exception as error:  # such as joblib's, of which a process was killed
            raise RunError(
                f"The launcher gave up ({type(error).__name__}: {error}). The same command goes "
                "on with what is not done."
            ) from error
        self._launched += len(jobs)
        for point, job in zip(points, returned, strict=False):  # warm and commands return nothing
            if job.status == JobStatus.FAILED:  # before the run itself could put it down
                folder, reason = RunFolder.at(point.path), job._return_value
                text = "".join(traceback.format_exception(reason))
                mark_failed(folder.status_path, f"{type(reason).__name__}: {reason}", text)

    def _check_results_are_seen(self) -> None:
        """Raises: ConfigError for a search that would take every setting for a failure."""
        from reasoning_lab.config import ConfigError
        from reasoning_lab.sweeps.conduct import is_search

        if isinstance(self._launcher, CommandsLauncher) and is_search(self._request):
            raise ConfigError(
                "hydra/launcher=commands makes no runs, and sweep=asha chooses by how they did. "
                "Use sweep=grid or another launcher."
            )


class WarmLauncher(Launcher):
    """One run after another in one process, in which weights and compiled steps stay warm."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from reasoning_lab.sweeps.warm import Workshop

        self._search_path = search_path(config)
        self._workshop = Workshop()

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        self._workshop.run_all([[*self._search_path, *overrides] for overrides in job_overrides])
        return []

    def close(self) -> None:
        """End the process; the next launch would start another."""
        self._workshop.close()


class CommandsLauncher(Launcher):
    """Runs nothing: writes a command line for each run, for machines that are elsewhere."""

    def __init__(self, python: str, machine: Mapping[str, Any]) -> None:
        self._python, self._machine = python, Machine(**machine)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._search_path = search_path(config)
        self._folder = Path(config.hydra.sweep.dir) / "commands"

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from reasoning_lab.sweeps.commands import commands, write_all

        jobs = [[*self._search_path, *overrides] for overrides in job_overrides]
        files = write_all(commands(jobs, self._python), self._folder, self._machine)
        for what, path in files.items():
            print(f"{what}: {path}")
        return []


def search_path(config: DictConfig) -> list[str]:
    """Overrides that make configs of one's own found, from --config-dir or hydra.searchpath."""
    given = [text for text in config.hydra.overrides.hydra if text.startswith("hydra.searchpath")]
    folders = [
        source.path
        for source in config.hydra.runtime.config_sources
        if source.provider == "command-line"
    ]
    return given + [f"hydra.searchpath=['file://{folder}']" for folder in folders]


_STORE = ConfigStore.instance()
_STORE.store(group="hydra/sweeper", name="lab", node=LabSweeperConfig, provider="reasoning_lab")
_STORE.store(group="hydra/launcher", name="warm", node=WarmLauncherConfig, provider="reasoning_lab")
_STORE.store(
    group="hydra/launcher", name="commands", node=CommandsLauncherConfig, provider="reasoning_lab"
)
