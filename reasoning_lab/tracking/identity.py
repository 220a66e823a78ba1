"""Which W&B run belongs to a run's folder, and which folder of wandb's holds it."""

import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

FILE = "wandb.json"  # in the run's folder, so that it moves with it

_LONGEST_NAME = 80  # W&B takes ids of 128 characters; names of its artifacts are made from them


@dataclass(frozen=True)
class Identity:
    """The id of a W&B run."""

    id: str
    is_known: bool  # to W&B, perhaps


def identify(run_dir: Path) -> Identity:
    """The id remembered in the run's folder, or else a new one, remembered from now on.

    A new one is the folder's name and a few random characters: runs of two sweeps, or of two
    machines, may have one name. Under `wandb agent` it is the id that the agent gives.
    """
    path = run_dir / FILE
    try:
        return Identity(json.loads(path.read_text())["id"], is_known=True)
    except (OSError, ValueError, KeyError, TypeError):  # missing, or torn
        pass
    name = re.sub(r"[^\w.-]+", "-", run_dir.name, flags=re.ASCII)[:_LONGEST_NAME]
    of_the_agent = os.environ.get("WANDB_RUN_ID")
    id = of_the_agent or f"{name}-{secrets.token_hex(3)}"
    path.write_text(json.dumps({"id": id}) + "\n")
    return Identity(id, is_known=of_the_agent is not None)


def supersede(wandb_dir: Path, id: str) -> None:
    """Put aside what was recorded offline of this run before, since all of it is told again.

    Under their new names `wandb sync` and `wandb leet` do not see the old folders.
    """
    for folder in sorted(wandb_dir.glob(f"offline-run-*-{id}")):
        aside = folder.with_name(f"superseded-{folder.name}")
        number = 2
        while aside.exists():  # two of one second
            aside, number = folder.with_name(f"superseded-{folder.name}-{number}"), number + 1
        folder.rename(aside)
