"""Group relative policy optimization, from an experiment to a finished run folder.

Reads top to bottom: build problems and policy, train with evaluations on the way, keep the best
checkpoint, compare it with the policy that training began with on problems that chose nothing,
report. Left out on purpose: other algorithms than the GRPO family, and models of value or reward.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from rich.console import Console

from reasoning_lab.config import ConfigError
from reasoning_lab.config.build import to_mapping
from reasoning_lab.data.example import Example
from reasoning_lab.data.mixture import Mixture
from reasoning_lab.data.prompts import ProblemBatches
from reasoning_lab.engine.checkpoints import save_lora
from reasoning_lab.engine.grpo import GRPOTrainer
from reasoning_lab.engine.grpo_cluster import NotANumberError
from reasoning_lab.engine.grpo_groups import Record
from reasoning_lab.engine.lora import LoraModel
from reasoning_lab.engine.models import Policy
from reasoning_lab.evaluation.health import Health
from reasoning_lab.evaluation.metrics import ALL, score
from reasoning_lab.evaluation.verdict import verdict
from reasoning_lab.experiment import Experiment
from reasoning_lab.formats import render_prompt
from reasoning_lab.rewards.scoring import RewardError, prepare, score_attempts
from reasoning_lab.rewards.specs import Attempt
from reasoning_lab.runs.files import naming_full_disk, write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.logs import logging_to
from reasoning_lab.runs.metrics import MetricsWriter
from reasoning_lab.runs.records import RecordWriter, as_json, read_records
from reasoning_lab.runs.status import StatusWriter
from reasoning_lab.stages.evaluate import Judged, evaluate_base, evaluate_tuned
from reasoning_lab.stages.lineage import (
    Parent,
    begin_with,
    build_problems,
    parent_of,
    restore_best,
    split_held_out,
)
from reasoning_lab.stages.pictures import grpo_pictures
from reasoning_lab.stages.progress import make_console, progress_bar, silent_console
from reasoning_lab.stages.results import announce, record, report
from reasoning_lab.stages.session import (
    check_disk,
    log_funnel,
    open_policy,
    stop_here,
    stopping_on_interrupt,
    write_manifest,
)
from reasoning_lab.stages.specs import GRPOSpec
from reasoning_lab.tracking.tracker import Tracker, open_tracker

_BASE = "base, zero-shot"
_TRAINED = "GRPO"

_log = logging.getLogger(__name__)


def train_and_evaluate(experiment: Experiment, folder: RunFolder) -> None:
    """Train in a run's folder, from its newest checkpoint if there is one, and evaluate."""
    console = make_console()
    stage = experiment.stage
    assert isinstance(stage, GRPOSpec)
    with logging_to(folder.log_path, console), folder.status() as status:
        _log.info("run %s", folder.path)
        parent = parent_of(experiment)
        prepare(experiment.reward)
        mixture = build_problems(experiment)
        policy = open_policy(experiment)
        log_funnel(mixture)
        begin_with(parent, policy)
        start = replace(policy, lora=LoraModel(jax.tree.map(jnp.copy, policy.params)))
        trainer = _trainer(experiment, stage, folder, policy, start, mixture)
        check_disk(trainer.checkpoint_bytes, experiment, folder)
        write_manifest(experiment, folder, mixture, policy)
        tracking = open_tracker(
            experiment.tracking,
            folder.path,
            to_mapping(experiment),
            job_type="grpo",
            resume_step=trainer.steps_done or None,
        )
        with tracking as tracker:
            _train(trainer, experiment, stage, folder, mixture, status, tracker, console)
            judged = _compare(policy, start, parent, experiment, folder, mixture, console)
            record(judged, folder, tracker, step=trainer.steps_done)
    sentence = verdict(
        {one.name: one.scored for one in judged},
        trained=_TRAINED,
        start_name=_start_name(parent),
        start_run=None if parent is None else parent.folder.id,
    )
    settings = {
        "begins with": "the stock model" if parent is None else parent.folder.id,
        "rewards": ", ".join(f"{n} (weight {r.weight:g})" for n, r in experiment.reward.items()),
        "completions a step": f"{stage.batch_size} problems x {stage.num_generations}",
        "beta": f"{stage.beta:g}",
    }
    pictures = grpo_pictures(folder)
    report(judged, experiment, folder, settings=settings, pictures=pictures, verdict=sentence)
    announce(judged, experiment, folder, console, verdict=sentence)


@dataclass(frozen=True)
class _Verdicts:
    """What the trainer wants to know of completions; see engine/grpo.py."""

    components: dict[str, npt.NDArray[np.float64]]
    total: npt.NDArray[np.float64]
    finite: npt.NDArray[np.bool_]
    correct: npt.NDArray[np.bool_]


def _trainer(
    experiment: Experiment,
    stage: GRPOSpec,
    folder: RunFolder,
    policy: Policy,
    start: Policy,
    mixture: Mixture,
) -> GRPOTrainer:
    def judge(attempts: Sequence[Attempt]) -> _Verdicts:
        scores = score_attempts(experiment.reward, attempts, timeout_seconds=stage.reward_timeout)
        right = [score(a.completion, a.example, truncated=a.truncated).correct for a in attempts]
        return _Verdicts(scores.components, scores.total, scores.finite, np.array(right))

    hardware = experiment.hardware
    return GRPOTrainer(
        policy,
        start.params,
        stage,
        batches=ProblemBatches(
            _short_enough(mixture.train, policy, stage),
            batch_size=stage.batch_size,
            seed=experiment.seed,
        ),
        judge=judge,
        rows_at_once=hardware.fsdp * hardware.rows_per_micro_batch,
        generation_batch_size=hardware.generation_batch_size,
        remat=hardware.remat,
        checkpoint_dir=folder.checkpoints_dir,
        seed=experiment.seed,
    )


def _short_enough(problems: Sequence[Example], policy: Policy, stage: GRPOSpec) -> list[Example]:
    """Problems whose prompts are not too long, with the number of the others in the log.

    Raises:
        ConfigError: all are too long.
    """
    lengths = [len(policy.tokenizer.prompt(render_prompt(p.question))) for p in problems]
    most = stage.max_prompt_length
    kept = [p for p, length in zip(problems, lengths, strict=True) if length <= most]
    if not kept:
        raise ConfigError(
            f"stage.max_prompt_length={most}: the prompts of all {len(problems)} problems are "
            f"longer; the shortest has {min(lengths)} tokens, the longest {max(lengths)}."
        )
    dropped = len(problems) - len(kept)
    _log.info("data: %d problems; %d with longer prompts dropped", len(kept), dropped)
    return kept


def _train(
    trainer: GRPOTrainer,
    experiment: Experiment,
    stage: GRPOSpec,
    folder: RunFolder,
    mixture: Mixture,
    status: StatusWriter,
    tracker: Tracker,
    console: Console,
) -> None:
    """Train to the end; on Ctrl-C save, say how to go on, and raise KeyboardInterrupt."""
    begun_at = trainer.steps_done
    if begun_at:
        _log.info("going on from the checkpoint of step %d", begun_at)
    status.update(begun_at, stage.max_steps)
    _, running = split_held_out(mixture, experiment)
    with (
        MetricsWriter(folder.metrics_path, resume_step=begun_at) as metrics,
        RecordWriter(folder.rollouts_path, resume_step=begun_at) as rollouts,
        naming_full_disk(folder.checkpoints_dir),
        _keeping_offenders(folder),
        stopping_on_interrupt(trainer),
    ):
        earlier = read_records(folder.metrics_path)
        health, best = _known_so_far(earlier)

        def log(step: int, values: dict[str, float]) -> None:
            metrics.log(step, values)
            tracker.log(step, values)

        def evaluate(step: int) -> None:
            nonlocal best
            every = stage.eval_every
            if not every or (step % every and step != stage.max_steps):
                return
            judged = evaluate_tuned(
                trainer.policy,
                running,
                experiment.evaluation,
                batch_size=experiment.hardware.generation_batch_size,
                console=silent_console(),
                seed=experiment.seed,
            )
            values = _held_out_metrics(judged)
            log(step, values)
            _log.info("step %d: %.0f%% held-out correct", step, 100 * values["eval/correct"])
            if values["eval/correct"] > best:
                best = values["eval/correct"]
                save_lora(trainer.policy, folder.best_dir, step)

        def on_step(step: int, values: dict[str, float]) -> None:
            log(step, values)
            status.update(step)
            for warning in health.observe(step, values):
                _log.warning("%s", warning)
            facts = ("reward/total", "rollout/correct", "completion/length", "time/step")
            reward, correct, length, seconds = (values[name] for name in facts)
            bar.update(
                step,
                f"reward {reward:.2f}  {correct:.0%} right  {length:.0f} tokens  {seconds:.1f} s",
            )

        def on_rollouts(step: int, records: list[Record]) -> None:
            for line in records:
                rollouts.append(line)
            shown = [
                {name: cell for name, cell in line.items() if not isinstance(cell, list)}
                for line in records
            ]
            tracker.samples(step, shown, name="rollouts")

        if not any("eval/correct" in line for line in earlier):
            evaluate(0)
        with progress_bar(console, "train", stage.max_steps) as bar:
            bar.update(begun_at)
            done = trainer.fit(on_step, on_rollouts, evaluate)
    stop_here(done, stage.max_steps, folder, console)


def _known_so_far(records: Sequence[dict[str, Any]]) -> tuple[Health, float]:
    """Health after the steps of a resumed run, and its best held-out accuracy; -1 for none."""
    health, best = Health(), -1.0
    for line in records:
        values = {name: float(value) for name, value in line.items()}
        best = max(best, values.get("eval/correct", -1.0))
        if "reward/total" in values:
            health.observe(line["step"], values)
    return health, best


@contextmanager
def _keeping_offenders(folder: RunFolder) -> Iterator[None]:
    """Write the samples that training stopped at to offending.json; the error passes through."""
    try:
        yield
    except (NotANumberError, RewardError) as error:
        samples = error.records if isinstance(error, NotANumberError) else error.as_record()
        text = json.dumps(as_json(samples), indent=2, ensure_ascii=False)
        write_atomically(folder.offending_path, text + "\n")
        _log.error("the samples that training stopped at: %s", folder.offending_path)
        raise


def _held_out_metrics(judged: Judged) -> dict[str, float]:
    """Shares and means over all problems, with the ends of their 95% intervals."""
    metrics = {}
    for row in judged.summary.rows:
        if row.group == ALL:
            metrics[f"eval/{row.metric}"] = row.count / row.denominator
            metrics[f"eval/{row.metric}_low"] = row.low
            metrics[f"eval/{row.metric}_high"] = row.high
    for mean in (*judged.summary.lengths, *judged.summary.pass_at):
        if mean.group == ALL:
            metrics[f"eval/{mean.metric}"] = mean.value
            metrics[f"eval/{mean.metric}_low"] = mean.low
            metrics[f"eval/{mean.metric}_high"] = mean.high
    return metrics


def _start_name(parent: Parent | None) -> str:
    return _BASE if parent is None else parent.stage_name


def _compare(
    policy: Policy,
    start: Policy,
    parent: Parent | None,
    experiment: Experiment,
    folder: RunFolder,
    mixture: Mixture,
    console: Console,
) -> list[Judged]:
    """Base, the policy that training began with, and the best one, on the problems for the end."""
    final, _ = split_held_out(mixture, experiment)
    spec, batch_size = experiment.evaluation, experiment.hardware.generation_batch_size
    judged = []
    if spec.baseline:
        judged += evaluate_base(
            policy,
            replace(mixture, held_out=final),
            spec,
            batch_size=batch_size,
            console=console,
            seed=experiment.seed,
        )
    step = restore_best(policy, folder)
    _log.info("the model of step %d is the one evaluated and kept", step)
    name = _start_name(parent)
    named = [] if any(one.name == name for one in judged) else [(name, start)]
    for name, model in [*named, (_TRAINED, policy)]:
        judged.append(
            evaluate_tuned(
                model,
                final,
                spec,
                batch_size=batch_size,
                console=console,
                name=name,
                seed=experiment.seed,
            )
        )
    return judged
