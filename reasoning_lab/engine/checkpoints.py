"""Reading back what training saved."""

from pathlib import Path

from tunix.sft.checkpoint_manager import CheckpointManager

from reasoning_lab.config import ConfigError
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
        step, _ = manager.maybe_restore(policy.lora, restore_only_lora_params=True)
    except ValueError as error:
        raise ConfigError(
            f"{checkpoint_dir}: the checkpoint does not fit model and lora in config.yaml "
            f"({str(error).splitlines()[0]})."
        ) from error
    finally:
        manager.close()
    if step == 0:
        raise ConfigError(f"{checkpoint_dir}: this run has saved no checkpoint yet.")
    return int(step)
