"""Where mode=plan leaves what it found out, for whoever comes to need it; no JAX."""

import hashlib
import json
from pathlib import Path
from typing import Any

from reasoning_lab.config.build import to_mapping
from reasoning_lab.config.cache import cache_dir
from reasoning_lab.experiment import Experiment

_DECIDES = ("model", "lora", "stage", "evaluation", "hardware")


def plan_path(experiment: Experiment) -> Path:
    """A file for each set of programs: the same for all seeds and data."""
    parts = {name: to_mapping(getattr(experiment, name)) for name in _DECIDES}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return cache_dir() / "plans" / f"{digest[:16]}.json"


def read_plan(experiment: Experiment) -> dict[str, Any] | None:
    """{"how", "programs": [{"name", "peak_bytes", "budget_bytes", "verdict"}, ...]}, if there is
    such a plan."""
    try:
        plan: dict[str, Any] = json.loads(plan_path(experiment).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return plan
