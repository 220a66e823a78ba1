"""What a run's steps took, kept for plans (hardware/calibration.py)."""

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from statistics import fmean, median
from typing import Any

from reasoning_lab import __version__
from reasoning_lab.engine.grpo_batch import RowShape
from reasoning_lab.experiment import Experiment
from reasoning_lab.hardware.calibration import Measurement, Program, add, machine_name
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.records import read_records
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec

FEWEST_STEPS = 3

_TIMES: dict[Program, str] = {
    "SFT step": "train/seconds",
    "rollout": "time/rollout",
    "reference": "time/reference",
    "GRPO step": "time/train",
}

_log = logging.getLogger(__name__)


def sizes(experiment: Experiment) -> dict[Program, dict[str, Any]]:
    """By program that an experiment's steps run, all that decides what it computes.

    All have architecture, rank, target_modules, mesh ([fsdp, tp]), hosts, param_dtype and
    logit_tokens. Those that work on rows have rows (over all devices, of one step), length and
    micro_batches; those that train, remat; a rollout completions, at_once (sampled at one time),
    max_prompt_length and max_completion_length.
    """
    hardware, lora = experiment.hardware, experiment.lora
    common = {
        "architecture": experiment.model.architecture,
        "rank": lora.rank,
        "target_modules": sorted(lora.target_modules),
        "mesh": [hardware.fsdp, hardware.tp],
        "hosts": hardware.hosts,
        "param_dtype": hardware.param_dtype,
        "logit_tokens": hardware.logit_tokens,
    }
    match experiment.stage:
        case SFTSpec() as stage:
            rows = stage.batch_tokens // stage.max_length
            shape = {
                "rows": rows,
                "length": stage.max_length,
                "micro_batches": hardware.micro_batches(rows),
            }
            return {"SFT step": common | shape | {"remat": hardware.remat}}
        case GRPOSpec() as stage:
            shape = _row_shape(experiment, stage)
            completions = stage.batch_size * stage.num_generations
            rollout = {
                "completions": completions,
                "at_once": min(completions, hardware.generation_batch_size),
                "max_prompt_length": stage.max_prompt_length,
                "max_completion_length": stage.max_completion_length,
            }
            update = {"remat": hardware.remat, "num_iterations": stage.num_iterations}
            programs: dict[Program, dict[str, Any]] = {"rollout": common | rollout}
            if stage.beta:
                programs["reference"] = common | shape
            return programs | {"GRPO step": common | shape | update}
        case _:
            return {}


def keep_times(experiment: Experiment, folder: RunFolder, *, devices: str, begun_at: int) -> None:
    """Add what this attempt at a run has measured, if it has taken enough steps.

    Args:
        devices: those it ran on, as the manifest names them.
        begun_at: steps done before; the first one after it compiles, and does not count.
    """
    steps = [line for line in read_records(folder.metrics_path) if line["step"] > begun_at + 1]
    try:
        for measurement in _measured(experiment, steps, machine_name(devices)):
            add(measurement)
    except OSError as error:
        _log.warning("what the steps took cannot be kept for later plans: %s", error)


def _measured(
    experiment: Experiment, steps: list[dict[str, Any]], machine: str
) -> Iterator[Measurement]:
    lengths = [line["completion/length"] for line in steps if "completion/length" in line]
    for program, program_sizes in sizes(experiment).items():
        seconds = [line[_TIMES[program]] for line in steps if _TIMES[program] in line]
        if len(seconds) >= FEWEST_STEPS:
            yield Measurement(
                machine=machine,
                program=program,
                sizes=program_sizes,
                seconds=median(seconds),
                tokens=fmean(lengths) if lengths else None,
                steps=len(seconds),
                date=datetime.now(UTC).isoformat(timespec="seconds"),
                versions=_versions(),
            )


def _row_shape(experiment: Experiment, stage: GRPOSpec) -> dict[str, Any]:
    hardware = experiment.hardware
    shape = RowShape.of(stage, hardware.rows_at_once)
    rows = shape.rows * shape.micro_batches
    return {"rows": rows, "length": shape.length, "micro_batches": shape.micro_batches}


def _versions() -> Mapping[str, str]:
    ours = {"reasoning_lab": __version__}
    return ours | {name: metadata.version(name) for name in ("jax", "jaxlib")}
