"""One run from its folder, whatever state the folder is in; what is unreadable is said.

Nothing of the experiment is built: other versions of the lab wrote other keys.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from reasoning_lab.compare.comparison import Answer, ComparedRun
from reasoning_lab.compare.find import Found
from reasoning_lab.compare.lenient import as_number, read_content, read_records, read_series
from reasoning_lab.config.build import HOUSEKEEPING, leaves
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import read_status

# The first loader is ten times faster, and missing where PyYAML was built without libyaml.
_YamlLoader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader

_STAGES = {"GRPOSpec": "grpo", "SFTSpec": "sft"}
_STEP_SECONDS = ("time/step", "train/seconds")  # of GRPO, of SFT
_UNTRAINED = "base"  # what the names of all models begin with that were not trained


def read_run(found: Found) -> ComparedRun:
    """The run in a folder; never fails because of what is in the files."""
    folder, trouble = RunFolder(found.path), list[str]()
    config = _read_config(folder.config_path, trouble)
    status = _read_status(folder.status_path, trouble)
    series = read_series(folder.metrics_path, trouble)
    seconds = sum(float(np.nansum(series[name].values)) for name in _STEP_SECONDS if name in series)
    last_step = max((int(one.steps[-1]) for one in series.values()), default=0)
    return ComparedRun(
        name=found.name,
        folder=folder,
        stage=str(config.get("stage", found.overrides.get("stage", ""))),
        state=str(status["state"]),
        error=_first_line(status.get("error")),
        traceback=str(status["traceback"]) if status.get("traceback") else None,
        step=max(_whole(status.get("step")) or 0, last_step),  # a status may be a second old
        max_steps=_whole(status.get("max_steps", config.get("stage.max_steps"))),
        seed=_whole(found.overrides.get("seed", config.get("seed"))) or 0,
        device_minutes=seconds / 60 * _devices(config),
        overrides=found.overrides,
        config=config,
        series=series,
        answers=_read_answers(folder.samples_path, trouble),
        trouble=tuple(trouble),
    )


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and their values, without those that say nothing about the result.

    Of each `_target_` the class name is kept at the key of what it makes ("reward.math": "Math"),
    for it tells two kinds apart whose other keys agree; "stage" is "grpo" or "sft". The classes
    of the groups themselves, such as "lora", are always the same and left out.
    """
    flat: dict[str, Any] = {}
    for key, value in leaves(config):
        parent, _, last = key.rpartition(".")
        if key.split(".")[0] in HOUSEKEEPING:
            continue
        if last != "_target_":
            flat[key] = value
        elif parent == "stage" or "." in parent or parent == "warm_start":
            kind = str(value).rpartition(".")[2]
            flat[parent] = _STAGES.get(kind, kind)
    return flat


def _read_config(path: Path, trouble: list[str]) -> dict[str, Any]:
    data = read_content(path, trouble)
    if data is None:
        return {}
    try:
        config = yaml.load(data, Loader=_YamlLoader)
    except (yaml.YAMLError, ValueError) as error:
        trouble.append(f"config.yaml is not valid YAML ({_first_line(str(error))}).")
        return {}
    if not isinstance(config, Mapping):
        trouble.append("config.yaml holds no keys.")
        return {}
    return flatten(config)


def _read_status(path: Path, trouble: list[str]) -> dict[str, Any]:
    """What status.json says, whatever its version; the state is "waiting" without a file."""
    if not path.is_file():
        return {"state": "waiting"}
    try:
        return asdict(read_status(path))
    except (ValueError, TypeError, OverflowError, OSError):  # or with keys of another version
        pass
    try:
        record: dict[str, Any] = dict(json.loads(path.read_bytes()))
        record["state"]
    except (ValueError, TypeError, KeyError, OSError):
        trouble.append("status.json cannot be read, so how the run ended is not known.")
        return {"state": "unreadable"}
    trouble.append("status.json was written by another version of the lab.")
    return record


def _first_line(text: Any) -> str | None:
    lines = str(text or "").strip().splitlines()
    return lines[0] if lines else None


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _devices(config: Mapping[str, Any]) -> int:
    fsdp, tp = (_whole(config.get(f"hardware.{axis}")) or 1 for axis in ("fsdp", "tp"))
    return max(fsdp * tp, 1)


def _read_answers(path: Path, trouble: list[str]) -> dict[str, tuple[Answer, ...]]:
    by_model: defaultdict[str, list[Answer]] = defaultdict(list)
    for record in read_records(path, trouble):
        by_model[str(record.get("model", ""))].append(_answer(record))
    if by_model and list(by_model)[-1].startswith(_UNTRAINED):
        trouble.append(f"{path.name} has no answers of the trained model.")
        return {}
    return {model: tuple(answers) for model, answers in by_model.items()}


def _answer(record: Mapping[str, Any]) -> Answer:
    correct, reward = record.get("correct"), as_number(record.get("reward"))
    question = str(record.get("question", ""))
    return Answer(
        example_id=str(record.get("example_id", question)),
        domain=str(record.get("domain", "")),
        question=question,
        completion=str(record.get("completion", "")),
        answer=str(record.get("answer", "")),
        well_formed=bool(record.get("well_formed", False)),
        correct=None if correct is None else bool(correct),
        truncated=bool(record.get("truncated", False)),
        reward=reward if np.isfinite(reward) else None,
    )
