"""What the recipes of all stages do around their training."""

import json
import logging
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import jax
from jax.sharding import Mesh
from rich.console import Console

from reasoning_lab.config import ConfigError
from reasoning_lab.config.build import to_mapping
from reasoning_lab.data.mixture import Mixture, in_words
from reasoning_lab.engine import devices
from reasoning_lab.engine.memory import naming_memory
from reasoning_lab.engine.models import Policy, fingerprint, load_policy
from reasoning_lab.experiment import Experiment, load, to_yaml
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.manifest import describe_run
from reasoning_lab.runs.records import read_records
from reasoning_lab.runs.status import Paused
from reasoning_lab.stages.progress import make_console, silent_console
from reasoning_lab.tracking.tracker import Tracker, open_tracker

_PACKAGES = (
    *("google-tunix", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint"),
    *("reasoning-gym", "math-verify"),
)

_log = logging.getLogger(__name__)


class Stoppable(Protocol):
    """A trainer that looks at this flag between steps."""

    stop_requested: bool


def console_of(folder: RunFolder) -> Console:
    """The terminal; of several hosts, the first alone uses it."""
    return make_console() if folder.shared is None else silent_console()


def open_policy(experiment: Experiment, mesh: Mesh) -> Policy:
    """Load an experiment's model with fresh LoRA weights, spread over the mesh.

    Raises:
        ConfigError: the weights are not there, or not what they should be.
        RunError: they do not lie on all devices.
    """
    with naming_memory("loading the weights"):
        policy = load_policy(
            experiment.model,
            experiment.lora,
            param_dtype=experiment.hardware.param_dtype,
            mesh=mesh,
            seed=experiment.seed,
        )
    devices.check_spread(policy.base, policy.mesh)
    return policy


def log_funnel(mixture: Mixture, folder: RunFolder) -> None:
    """Say what became of every row that was read, and keep it, with examples, in funnel.json."""
    for row in mixture.funnel:
        _log.info("data %s: %s", row.source, in_words(row))
    records = [asdict(row) for row in mixture.funnel]
    text = json.dumps(records, indent=2, ensure_ascii=False)
    write_atomically(folder.funnel_path, text + "\n")


def check_epochs(epochs: float, experiment: Experiment) -> None:
    """Raises: ConfigError if the planned steps go over the same examples too often."""
    most = experiment.data.allow_epochs
    if epochs > most:
        raise ConfigError(
            f"The planned steps go {epochs:.3g} times over the training examples, more than "
            f"data.allow_epochs={most:g}: the model would learn them by heart. Use more data or "
            f"fewer steps, or accept it: data.allow_epochs={epochs:.2g}.",
            keys=["data.allow_epochs", "stage.max_steps"],
        )


def check_disk(checkpoint_bytes: int, experiment: Experiment, folder: RunFolder) -> None:
    """Raises: ConfigError before training, if the checkpoints will not fit."""
    keep = experiment.stage.checkpoints_to_keep
    needed = checkpoint_bytes * (keep + 1)
    free = shutil.disk_usage(folder.path).free
    if needed > free:
        raise ConfigError(
            f"{folder.path}: the checkpoints need {needed / 1e6:,.0f} MB (of "
            f"stage.checkpoints_to_keep={keep} and one being written), and {free / 1e6:,.0f} MB "
            "are free. Free some space or choose another runs_dir."
        )


def track(
    experiment: Experiment, folder: RunFolder, stage: str, steps_done: int
) -> AbstractContextManager[Tracker]:
    """Where the records of a run go besides its folder; going on after `steps_done` steps."""
    watched = replace(experiment.tracking, wandb=False) if folder.shared else experiment.tracking
    return open_tracker(
        watched,
        folder.path,
        to_mapping(experiment),
        job_type=stage,
        runs_dir=Path(experiment.runs_dir),
        resume_step=steps_done or None,
        history=read_records(folder.metrics_path),
    )


def write_manifest(
    experiment: Experiment, folder: RunFolder, mixture: Mixture, policy: Policy, *, begun_at: int
) -> None:
    """Put down what the run is made from. A run may go on elsewhere: the manifest lists where it
    ran, from which step on, and config.yaml has the hardware that it goes on with."""
    before = json.loads(folder.manifest_path.read_text()) if folder.manifest_path.exists() else {}
    manifest = describe_run(
        packages=_PACKAGES,
        seeds={"experiment": experiment.seed},
        fingerprints={"data": mixture.fingerprint, "weights": fingerprint(policy.base)},
        device=devices.describe(),
    )
    here = {
        "from_step": begun_at,
        "device": devices.describe(),
        "hardware": to_mapping(experiment.hardware),
    }
    manifest["ran_on"] = [*before.get("ran_on", []), here]
    write_atomically(folder.manifest_path, json.dumps(manifest, indent=2) + "\n")
    kept = load(folder.config_path)
    if kept.hardware != experiment.hardware:
        moved = replace(kept, hardware=experiment.hardware)
        write_atomically(folder.config_path, to_yaml(moved))


@contextmanager
def stopping_on_interrupt(trainer: Stoppable) -> Iterator[None]:
    """The first Ctrl-C ends training after the current step; the second one stops at once.

    Of several hosts each would end after another step, so there the first Ctrl-C is the second.
    """
    if jax.process_count() > 1:
        yield
        return
    before: Callable[[int, FrameType | None], Any] | int | None = signal.getsignal(signal.SIGINT)

    def request_stop(number: int, frame: FrameType | None) -> None:
        _log.warning("finishing this step and saving; press Ctrl-C again to stop at once")
        trainer.stop_requested = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, request_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stop_here(
    done: int, max_steps: int, folder: RunFolder, console: Console, *, stop_at: int | None
) -> None:
    """Say how to go on with a run that was stopped before its last step.

    Raises: KeyboardInterrupt or, where it was to stop there, Paused.
    """
    if done < max_steps:
        if stop_at is not None and done >= stop_at:
            _log.info("paused at step %d of %d", done, max_steps)
            raise Paused
        console.print(
            f"Stopped and saved at step {done} of {max_steps}. Go on with:\n"
            f"  python -m reasoning_lab resume {folder.path}"
        )
        raise KeyboardInterrupt
