"""The config as W&B shows it: one flat key for each value, by the name it has on the command line.

W&B keeps the key "lora.rank" as {"lora.rank": {"value": 8}}, the form in which `wandb agent` writes
the parameters of a sweep too. `backend_key` says how its app addresses it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from reasoning_lab.config.build import HOUSEKEEPING, leaves


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys to plain values; lists as "a,b", which W&B can group by. Settings alone: not
    where the run goes, and who watches it.

    Names of what a group holds stand under the group's own key, as in "data": "gsm8k,scitldr".
    """
    named = {"data": config.get("data", {}).get("sources"), "reward": config.get("reward")}
    names = {key: ",".join(parts) for key, parts in named.items() if parts}
    settings = {key: config[key] for key in config if key not in HOUSEKEEPING}
    told = {k: _plain(v) for k, v in leaves(settings) if k.split(".")[-1] != "_target_"}
    return {**names, **told}


def backend_key(key: str) -> str:
    """How W&B's app finds a flat key; wandb_workspaces would take the dot for nesting."""
    return f"{key}.value"


def _plain(value: Any) -> Any:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return ",".join(map(str, value)) if is_list else value
