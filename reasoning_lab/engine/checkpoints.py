"""Saving LoRA weights by themselves, and reading back what training saved."""

import shutil
from pathlib import Path

import orbax.checkpoint as ocp
from tunix.sft.checkpoint_manager import CheckpointManager

from reasoning_lab.config import ConfigError
from reasoning_lab.engine import hosts
from reasoning_lab.engine.models import Policy


def restore_lora(policy: Policy, checkpoint_dir: Path) -> int:
    """Load the newest LoRA weights into the policy and return their step.

    Raises:
        ConfigError: there is no checkpoint, or one of another model or rank.
    """
    if not checkpoint_dir.is_dir():
        raise ConfigError(f"{checkpoint_dir}: this run has saved no checkpoint yet.")
    manager = CheckpointManager(str(checkpoint_dir.absolute()))
    try:
        if manager.latest_step() is None:
            raise ConfigError(f"{checkpoint_dir}: this run has saved no checkpoint yet.")
        step, _ = manager.maybe_restore(policy.lora, restore_only_lora_params=True)
    except ValueError as error:
        raise ConfigError(
            f"{checkpoint_dir}: the checkpoint does not fit model and lora in config.yaml "
            f"({str(error).splitlines()[0]})."
        ) from error
    finally:
        manager.close()
    return int(step)


def save_lora(policy: Policy, checkpoint_dir: Path, step: int) -> None:
    """Save the LoRA weights, without optimizer state, in place of those saved there before.

    They are written beside the old ones and then take their place: Orbax refuses a step that is
    there already, to which a resumed run may come again.
    """
    new, old = (checkpoint_dir.with_name(f"{checkpoint_dir.name}.{end}") for end in ("new", "old"))
    if hosts.number() == 0:
        for left_by_a_crash in (new, old):
            shutil.rmtree(left_by_a_crash, ignore_errors=True)
    hosts.wait("saving")
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
    manager = CheckpointManager(str(new.absolute()), options)
    manager.save(step, policy.lora, save_only_lora_params=True, force=True)
    manager.close()
    hosts.wait("saved")
    if hosts.number() == 0:
        if checkpoint_dir.exists():
            checkpoint_dir.rename(old)
        new.rename(checkpoint_dir)
        shutil.rmtree(old, ignore_errors=True)
    hosts.wait("in place")
