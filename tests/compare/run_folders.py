"""Sweeps and runs made up for tests, written with the writers that real runs use."""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import MetricsWriter
from reasoning_lab.runs.status import StatusWriter

Stage = Literal["grpo", "sft"]
Values = Mapping[str, str]


def write_sweep(
    folder: Path,
    axes: Mapping[str, Sequence[str]],
    seeds: int,
    *,
    steps: int = 20,
    problems: int = 16,
    effect: Callable[[Values], float] | None = None,
    stage: Stage = "grpo",
    waiting: Collection[str] = (),
    running: Collection[str] = (),
    failed: Collection[str] = (),
    killed: Collection[str] = (),
    torn: Collection[str] = (),
    corrupt: Collection[str] = (),
    older: Collection[str] = (),
    random_seed: int = 0,
) -> Path:
    """A sweep over all values of `axes` and over seeds 0, 1, …; returns its folder.

    Args:
        folder: of the sweep; its name is the sweep's.
        axes: {"lora.rank": ["8", "16"]}; "data" names a source.
        problems: in the final evaluation; every fourth is a story, which nothing decides.
        effect: the chance of a right answer (and the mean reward of stories) in a setting.
        waiting, running, failed, killed: names of runs (see `run_name`) in these states.
        torn: runs whose metrics.jsonl ends in the middle of a line.
        corrupt: runs with nonsense in metrics.jsonl, samples.jsonl and status.json.
        older: runs of an older version: other keys in config.yaml, fewer in the other files.
    """
    folder.mkdir(parents=True)
    runs = {run_name(values): values for values in settings(axes, seeds)}
    grid = " ".join(f"{key}={','.join(values)}" for key, values in axes.items())
    numbers = ",".join(map(str, range(seeds)))
    record = {
        "name": folder.name,
        "command": f"python launch.py -m stage={stage} {grid} seed={numbers} "
        f"sweep.name={folder.name}",
        "axes": {**{key: list(values) for key, values in axes.items()}, "seed": numbers.split(",")},
        "runs": runs,
    }
    (folder / "sweep.json").write_text(json.dumps(record, indent=2))
    state_of = dict.fromkeys(running, "running")
    state_of |= dict.fromkeys(failed, "failed") | dict.fromkeys(killed, "killed")
    for number, (name, values) in enumerate(runs.items()):
        if name in waiting:
            continue
        run = write_run(
            folder / name,
            values,
            stage=stage,
            state=state_of.get(name, "done"),
            steps=steps,
            problems=problems,
            chance=0.5 if effect is None else effect(values),
            random_seed=1000 * random_seed + number,
        )
        if name in torn:
            tear(run)
        if name in corrupt:
            corrupt_files(run)
        if name in older:
            make_older(run)
    return folder


def settings(axes: Mapping[str, Sequence[str]], seeds: int) -> Iterator[dict[str, str]]:
    """What a sweep sets for each of its runs, the seed last and fastest."""
    for values in product(*axes.values()):
        for seed in range(seeds):
            yield {**dict(zip(axes, values, strict=True)), "seed": str(seed)}


def run_name(values: Values) -> str:
    """{"lora.rank": "8", "seed": "0"} -> "rank=8-seed=0"."""
    return "-".join(f"{key.rpartition('.')[2]}={value}" for key, value in values.items())


def write_run(
    path: Path,
    values: Values,
    *,
    stage: Stage = "grpo",
    state: str = "done",
    steps: int = 20,
    problems: int = 16,
    chance: float = 0.5,
    random_seed: int = 0,
    model: str | None = None,
) -> RunFolder:
    """One run in `path`; only done runs have answers, the others stop half way."""
    run = RunFolder(path)
    path.mkdir(parents=True)
    random = np.random.default_rng(random_seed)
    run.config_path.write_text(yaml.safe_dump(config(values, stage, steps), sort_keys=False))
    status = StatusWriter(run.status_path)
    taken = steps if state == "done" else steps // 2
    with MetricsWriter(run.metrics_path) as metrics:
        for step in range(1, taken + 1):
            metrics.log(step, _metrics(stage, step, steps, chance, random))
            if stage == "grpo" and step % 5 == 0:
                metrics.log(step, _held_out(step, steps, chance))
            status.update(step, steps)
    if state == "done":
        seed = values.get("seed", "0")
        trained = model or {"grpo": "GRPO", "sft": "tuned"}[stage]
        lines = [
            *_answers("base, zero-shot", seed, problems, 0.1, random),
            *_answers(trained, seed, problems, chance, random),
        ]
        run.samples_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        status.end("done")
    elif state == "failed":
        status.end("failed", ValueError("the loss of step 7 is nan"))
    else:  # the writer puts steps down at most once a second
        dead = {"process_start": -1} if state == "killed" else {}
        rewrite_status(run, step=taken, max_steps=steps, **dead)
    return run


def config(values: Values, stage: Stage = "grpo", steps: int = 20) -> dict[str, Any]:
    """A resolved experiment with these values in it."""
    at_stage = {
        "grpo": {
            "_target_": "reasoning_lab.stages.specs.GRPOSpec",
            "learning_rate": 3e-5,
            "beta": 0.04,
            "num_generations": 4,
            "max_steps": steps,
        },
        "sft": {
            "_target_": "reasoning_lab.stages.specs.SFTSpec",
            "learning_rate": 5e-4,
            "epochs": 1.0,
            "max_steps": steps,
        },
    }
    root: dict[str, Any] = {
        "_target_": "reasoning_lab.experiment.Experiment",
        "model": {"_target_": "reasoning_lab.engine.specs.ModelSpec", "architecture": "tiny"},
        "lora": {"_target_": "reasoning_lab.engine.specs.LoraSpec", "rank": 8, "alpha": 16.0},
        "data": {"sources": {"gsm8k": {"domain": "math", "rows": 160, "licence": "MIT"}}},
        "reward": {"math": {"weight": 1.0}} if stage == "grpo" else {},
        "stage": at_stage[stage],
        "hardware": {"platform": "cpu", "fsdp": 1, "tp": 1},
        "tracking": {"wandb": False, "project": "reasoning_lab", "tags": []},
        "evaluation": {"problems": 16},
        "warm_start": None,
        "init_from": None,
        "seed": 0,
        "name": run_name(values),
        "runs_dir": "runs",
        "check": False,
    }
    for key, value in values.items():
        if key == "data":
            root["data"] = {"sources": {value: {"domain": value, "rows": 10 * len(value)}}}
            continue
        *groups, last = key.split(".")
        node = root
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = yaml.safe_load(value)
    return root


def rewrite_status(run: RunFolder, **changes: Any) -> None:
    """Change keys of status.json; a process_start that is not the process's reads as killed."""
    status = json.loads(run.status_path.read_text())
    run.status_path.write_text(json.dumps({**status, **changes}))


def tear(run: RunFolder) -> None:
    """As a crash in the middle of a line leaves metrics.jsonl."""
    data = run.metrics_path.read_bytes()
    run.metrics_path.write_bytes(data[:-40])


def corrupt_files(run: RunFolder) -> None:
    """As a bad disk leaves the files; the other lines stay readable."""
    lines = run.metrics_path.read_bytes().splitlines(keepends=True)
    lines[2] = b'{"step": 3, "train/lo\x00\xff\n'
    lines[3] = b"[1, 2]\n"
    run.metrics_path.write_bytes(b"".join(lines))
    if run.samples_path.exists():
        lines = run.samples_path.read_bytes().splitlines(keepends=True)
        lines[0] = b"\xff\xfe nonsense\n"
        run.samples_path.write_bytes(b"".join(lines))
    run.status_path.write_text('{"state": "do')


def make_older(run: RunFolder) -> None:
    """As an older version of the lab wrote it: other keys in the config, fewer in the files."""
    root = yaml.safe_load(run.config_path.read_text())
    root["generation"] = {"_target_": "reasoning_lab.specs.Generation", "temperature": 1.0}
    del root["lora"]["alpha"], root["hardware"]
    run.config_path.write_text(yaml.safe_dump(root))
    status = json.loads(run.status_path.read_text())
    del status["process_start"], status["traceback"]
    run.status_path.write_text(json.dumps({**status, "attempt": 1}))
    if run.samples_path.exists():
        lines = [json.loads(line) for line in run.samples_path.read_text().splitlines()]
        for line in lines:
            del line["truncated"], line["reward"]
        run.samples_path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _metrics(
    stage: Stage, step: int, steps: int, chance: float, random: np.random.Generator
) -> dict[str, float]:
    progress = step / steps
    noise = 0.03 * random.standard_normal()
    shared = {
        "train/loss": 1.5 * math.exp(-2 * progress * chance) + noise,
        "train/grad_norm": 1.0 + abs(noise),
        "train/learning_rate": 1e-4 * (1 - progress),
    }
    if stage == "sft":
        return {**shared, "train/seconds": 2.0, "train/tokens_per_second": 800.0}
    reward = chance * progress + noise
    return {
        **shared,
        "train/kl": 0.02 * progress,
        "train/entropy": 1.8 - progress,
        "time/step": 3.0,
        "reward/total": reward,
        "reward/std_in_group": 0.2,
        "groups/dead": 0.25,
        "rollout/correct": min(max(reward, 0.0), 1.0),
        "completion/length": 150.0 - 50 * progress,
        "domain/math/reward": reward + 0.1,
        "domain/creative/reward": reward - 0.1,
    }


def _held_out(step: int, steps: int, chance: float) -> dict[str, float]:
    share = chance * step / steps
    return {
        "eval/score": share,
        "eval/correct": share,
        "eval/correct_low": max(share - 0.1, 0.0),
        "eval/correct_high": min(share + 0.1, 1.0),
        "eval/well_formed": 0.5 + share / 2,
        "eval/reward": share,
    }


def _answers(
    model: str, seed: str, problems: int, chance: float, random: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Records of samples.jsonl; problems are those of the seed, whatever the setting."""
    for number in range(problems):
        story = number % 4 == 3
        right = bool(random.random() < chance)
        formed = right or bool(random.random() < 0.5)
        domain = "creative" if story else "math"
        reward = chance + 0.1 * random.standard_normal() if story else 0.2 * formed + 0.8 * right
        text = "A fox met a crow." if story else f"{number} and {number} is {2 * number}."
        yield {
            "model": model,
            "question": f"Tell story {number}." if story else f"What is {number} + {number}?",
            "completion": f"<reasoning>{text}</reasoning><answer>{2 * number}</answer>",
            "answer": "" if story else str(2 * number),
            "example_id": f"{domain}: row {100 * int(seed) + number}",
            "source": domain,
            "domain": domain,
            "both_tags": formed,
            "reasoning_not_empty": formed,
            "no_stray_tags": formed,
            "well_formed": formed,
            "correct": None if story else right,
            "truncated": not formed,
            "reasoning_chars": len(text),
            "reasoning_steps": 1,
            "reward": reward,
        }
