"""A comparison as JSON, for programs; curves and answers stay in the run folders."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

from reasoning_lab.compare.comparison import ComparedRun, Comparison, Setting


def as_record(comparison: Comparison) -> dict[str, Any]:
    """The comparison for comparison.json; numbers are finite or null."""
    record = {
        "title": comparison.title,
        "metric": asdict(comparison.metric),
        "verdict": asdict(comparison.verdict),
        "axes": [asdict(axis) for axis in comparison.axes],
        "settings": [_setting(setting) for setting in comparison.settings],
        "effects": [asdict(effect) for effect in comparison.effects],
        "pairs": [asdict(pair) for pair in comparison.pairs],
        "runs": [_run(run) for run in comparison.runs],
        "differences": comparison.differences,
    }
    finite: dict[str, Any] = _finite(record)
    return finite


def as_json(comparison: Comparison) -> str:
    """The text of comparison.json."""
    text = json.dumps(as_record(comparison), indent=2, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def _setting(setting: Setting) -> dict[str, Any]:
    return {
        "label": setting.label,
        "values": setting.values,
        "runs": [run.name for run in setting.runs],
        "scores": setting.scores,
        "estimate": None if setting.estimate is None else asdict(setting.estimate),
    }


def _run(run: ComparedRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": os.path.relpath(run.folder.path),
        "stage": run.stage,
        "state": run.state,
        "error": run.error,
        "step": run.step,
        "max_steps": run.max_steps,
        "seed": run.seed,
        "device_minutes": run.device_minutes,
        "overrides": run.overrides,
        "trouble": run.trouble,
    }


def _finite(value: Any) -> Any:
    """With null for NaN and infinities, and text for what JSON has no word for, such as dates."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
