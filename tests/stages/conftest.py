"""Runs through the real commands: one finished run of the tiny model, made once."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_lab.engine import models
from reasoning_lab.engine.architecture import ARCHITECTURES

REPOSITORY = Path(__file__).parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("experiment=quick_cpu",)
# Most of the time goes into compiling programs that run once: as in tests/engine/conftest.py.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Runs `python WORDS…` in an empty folder, as a user would, and returns what it printed."""
    folder = tmp_path_factory.mktemp("elsewhere")

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        names = ("PATH", "HOME", "REASONING_LAB_CACHE", "LANG")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return subprocess.run(
            [sys.executable, "-W", "ignore", *words],
            cwd=folder,
            env=kept | {"COLUMNS": "100", "XLA_FLAGS": XLA_FLAGS} | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def launch(command: Command) -> Command:
    def run(*overrides: str) -> subprocess.CompletedProcess[str]:
        return command(str(REPOSITORY / "launch.py"), *overrides)

    return run


@pytest.fixture(scope="session")
def verb(command: Command) -> Command:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return command("-m", "reasoning_lab", *words)

    return run


@pytest.fixture(scope="session")
def finished(launch: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that went through."""
    runs_dir = tmp_path_factory.mktemp("runs")
    done = launch(*QUICK, f"runs_dir={runs_dir}", "stage.eval_every=2", "name=first")
    assert done.returncode == 0, done.stderr + done.stdout
    (folder,) = runs_dir.iterdir()
    return folder


@pytest.fixture(scope="module")
def one_layer() -> Iterator[None]:
    """A tiny model of one layer: programs for eight devices take long to compile."""
    with pytest.MonkeyPatch.context() as patched:
        tiny = replace(ARCHITECTURES["gemma3_tiny"], num_layers=1)
        patched.setitem(ARCHITECTURES, "gemma3_tiny", tiny)
        patched.setattr(models, "_newest_base", {})  # which knows models by name
        yield
