"""Group relative policy optimization, from an experiment to a finished run folder.

Reads top to bottom: build problems and policy, train with evaluations on the way, keep the best
checkpoint, compare it with the policy that training began with on problems that chose nothing,
report. Left out on purpose: other algorithms than the GRPO family, and models of value or reward.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from reasoning_lab.data.mixture import Mixture
from reasoning_lab.data.prompts import ProblemBatches
from reasoning_lab.data.shares import Shares, live_shares
from reasoning_lab.engine import devices, hosts
from reasoning_lab.engine.checkpoints import save_lora
from reasoning_lab.engine.grpo import GRPOTrainer
from reasoning_lab.engine.grpo_cluster import NotANumberError
from reasoning_lab.engine.grpo_groups import Record
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.lora import LoraModel
from reasoning_lab.engine.models import Policy, load_tokenizer
from reasoning_lab.evaluation.health import Health
from reasoning_lab.evaluation.metrics import ALL, Scored
from reasoning_lab.evaluation.verdict import verdict
from reasoning_lab.experiment import Experiment
from reasoning_lab.rewards import correctness
from reasoning_lab.rewards.scoring import RewardError, prepare
from reasoning_lab.runs.files import naming_full_disk, write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.logs import logging_to
from reasoning_lab.runs.metrics import MetricsWriter
from reasoning_lab.runs.records import RecordWriter, as_json, read_records
from reasoning_lab.runs.status import StatusWriter
from reasoning_lab.stages.evaluate import Judged, evaluate_base, evaluate_tuned
from reasoning_lab.stages.judge import Judge
from reasoning_lab.stages.lineage import (
    begin_with,
    build_problems,
    restore_best,
    split_held_out,
)
from reasoning_lab.stages.memory import explaining_memory
from reasoning_lab.stages.parents import Parent, parent_of
from reasoning_lab.stages.pictures import grpo_pictures
from reasoning_lab.stages.progress import progress_bar, silent_console
from reasoning_lab.stages.results import announce, record, report
from reasoning_lab.stages.session import (
    check_disk,
    check_epochs,
    console_of,
    log_funnel,
    open_policy,
    stop_here,
    stopping_on_interrupt,
    track,
    write_manifest,
)
from reasoning_lab.stages.specs import GRPOSpec
from reasoning_lab.stages.timing import keep_times
from reasoning_lab.stages.tokens import Tokens
from reasoning_lab.tracking.tracker import Tracker

_BASE = "base, zero-shot"
_TRAINED = "GRPO"

_log = logging.getLogger(__name__)


def train_and_evaluate(experiment: Experiment, folder: RunFolder) -> None:
    """Train in a run's folder, from its newest checkpoint if there is one, and evaluate."""
    console = console_of(folder)
    stage = experiment.stage
    assert isinstance(stage, GRPOSpec)
    with (
        logging_to(folder.log_path, console),
        folder.status() as status,
        explaining_memory(experiment, folder),
    ):
        _log.info("run %s", folder.path)
        parent = parent_of(experiment)
        mesh = devices.start(experiment.hardware)
        prepare(experiment.reward)
        mixture = build_problems(experiment, Tokens(load_tokenizer(experiment.model), stage))
        log_funnel(mixture, folder)
        correctness.prepare([*mixture.train, *mixture.held_out])
        check_epochs(stage.max_steps * stage.batch_size / len(mixture.train), experiment)
        policy = open_policy(experiment, mesh)
        begin_with(parent, policy)
        start = replace(policy, lora=LoraModel(jax.tree.map(jnp.copy, policy.params)))
        judge = Judge(experiment.reward, timeout_seconds=stage.reward_timeout)
        batches = ProblemBatches(
            mixture.train,
            batch_size=stage.batch_size,
            seed=experiment.seed,
            shares=Shares.of(experiment.data, mixture.train),
        )
        trainer = _trainer(experiment, stage, folder, policy, start, batches, judge)
        check_disk(trainer.checkpoint_bytes, experiment, folder)
        write_manifest(experiment, folder, mixture, policy, begun_at=trainer.steps_done)
        with track(experiment, folder, "grpo", trainer.steps_done) as tracker:
            run = _Run(experiment, stage, folder, mixture, judge, console)
            _train(trainer, batches, run, status, tracker)
            judged = _compare(policy, start, parent, run)
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
    report(
        judged,
        experiment,
        folder,
        funnel=mixture.funnel,
        settings=settings,
        pictures=pictures,
        verdict=sentence,
    )
    announce(judged, experiment, folder, console, verdict=sentence)


@dataclass(frozen=True)
class _Run:
    """What training and comparing both need to know."""

    experiment: Experiment
    stage: GRPOSpec
    folder: RunFolder
    mixture: Mixture
    judge: Judge
    console: Console


def _trainer(
    experiment: Experiment,
    stage: GRPOSpec,
    folder: RunFolder,
    policy: Policy,
    start: Policy,
    batches: ProblemBatches,
    judge: Judge,
) -> GRPOTrainer:
    hardware = experiment.hardware
    return GRPOTrainer(
        policy,
        start.params,
        stage,
        batches=batches,
        judge=judge,
        rows_at_once=hardware.rows_at_once,
        generation_batch_size=hardware.generation_batch_size,
        execution=Execution.on(policy.mesh, hardware),
        checkpoint_dir=folder.checkpoints_dir,
        seed=experiment.seed,
    )


def _train(
    trainer: GRPOTrainer,
    batches: ProblemBatches,
    run: _Run,
    status: StatusWriter,
    tracker: Tracker,
) -> None:
    """Train to the end; on Ctrl-C save, say how to go on, and raise KeyboardInterrupt."""
    experiment, stage, folder = run.experiment, run.stage, run.folder
    begun_at = trainer.steps_done
    if begun_at:
        _log.info("going on from the checkpoint of step %d", begun_at)
    status.update(begun_at, stage.max_steps)
    _, running = split_held_out(run.mixture, experiment)
    with (
        MetricsWriter(folder.metrics_path, resume_step=begun_at) as metrics,
        RecordWriter(folder.rollouts_path, resume_step=begun_at) as rollouts,
        naming_full_disk(folder.checkpoints_dir),
        _keeping_offenders(folder),
        stopping_on_interrupt(trainer),
    ):
        earlier = read_records(folder.metrics_path)
        health, best = _known_so_far(earlier, batches)

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
                rate=run.judge.rate,
            )
            values = _held_out_metrics(judged)
            values["eval/score"] = float(hosts.as_first_has_it(np.float64(values["eval/score"])))
            log(step, values)
            _log.info("step %d: held-out problems: %s", step, _in_words(values))
            if values["eval/score"] > best:
                best = values["eval/score"]
                save_lora(trainer.policy, folder.best_dir, step)

        def on_step(step: int, values: dict[str, float]) -> None:
            log(step, values)
            status.update(step)
            for warning in health.observe(step, values):
                _log.warning("%s", warning)
            facts = ("reward/total", "completion/length", "time/step")
            reward, length, seconds = (values[name] for name in facts)
            right = values.get("rollout/correct")  # None where nothing decides what is right
            share = "" if right is None else f"  {right:.0%} right"
            bar.update(step, f"reward {reward:.2f}{share}  {length:.0f} tokens  {seconds:.1f} s")

        def on_rollouts(step: int, records: list[Record]) -> None:
            for line in records:
                rollouts.append(line)
            shown = [
                {name: cell for name, cell in line.items() if not isinstance(cell, list)}
                for line in records
            ]
            tracker.samples(step, shown, name="rollouts")

        if not any("eval/score" in line for line in earlier):
            evaluate(0)
        with progress_bar(run.console, "train", stage.max_steps) as bar:
            bar.update(begun_at)
            done = trainer.fit(on_step, on_rollouts, evaluate, stop_at=experiment.stop_at)
    keep_times(experiment, folder, devices=devices.describe(), begun_at=begun_at)
    stop_here(done, stage.max_steps, folder, run.console, stop_at=experiment.stop_at)


def _known_so_far(
    records: Sequence[dict[str, Any]], batches: ProblemBatches
) -> tuple[Health, float]:
    """Health after the steps of a resumed run, and its best held-out score; -∞ for none.

    The batches hear of these steps too.
    """
    health, best = Health(), -inf
    for line in records:
        values = {name: float(value) for name, value in line.items()}
        best = max(best, values.get("eval/score", -inf))
        if "reward/total" in values:
            health.observe(line["step"], values)
            batches.observe(line["step"] - 1, live_shares(values))
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
    """Shares and means over all problems, with the ends of their 95% intervals, and by domain.

    "eval/score" is what the best step is chosen by: the mean over domains of the share of right
    answers or, in a domain where nothing decides what is right, of the reward.
    """
    metrics = {}
    for row in judged.summary.rows:
        place = "eval" if row.group == ALL else f"eval/{row.group}"
        metrics[f"{place}/{row.metric}"] = row.count / row.denominator
        if row.group == ALL:
            metrics[f"{place}/{row.metric}_low"] = row.low
            metrics[f"{place}/{row.metric}_high"] = row.high
    for mean in judged.summary.means:
        place = "eval" if mean.group == ALL else f"eval/{mean.group}"
        metrics[f"{place}/{mean.metric}"] = mean.value
        if mean.group == ALL:
            metrics[f"{place}/{mean.metric}_low"] = mean.low
            metrics[f"{place}/{mean.metric}_high"] = mean.high
    domains = dict.fromkeys(one.domain for one in judged.scored)
    of_domain = [[one for one in judged.scored if one.domain == domain] for domain in domains]
    return {**metrics, "eval/score": fmean(map(_score, of_domain))}


def _score(scored: Sequence[Scored]) -> float:
    decided = [one.correct for one in scored if one.correct is not None]
    return fmean(decided or [one.reward or 0.0 for one in scored])


def _in_words(values: Mapping[str, float]) -> str:
    right = f"{values['eval/correct']:.0%} correct, " if "eval/correct" in values else ""
    formed = f"{values['eval/well_formed']:.0%} well formed"
    return f"{right}reward {values['eval/reward']:.2f}, {formed}"


def _start_name(parent: Parent | None) -> str:
    return _BASE if parent is None else parent.stage_name


def _compare(policy: Policy, start: Policy, parent: Parent | None, run: _Run) -> list[Judged]:
    """Base, the policy that training began with, and the best one, on the problems for the end."""
    experiment = run.experiment
    final, _ = split_held_out(run.mixture, experiment)
    spec, batch_size = experiment.evaluation, experiment.hardware.generation_batch_size
    judged = []
    if spec.baseline:
        judged += evaluate_base(
            policy,
            replace(run.mixture, held_out=final),
            spec,
            batch_size=batch_size,
            console=run.console,
            seed=experiment.seed,
            rate=run.judge.rate,
        )
    step = restore_best(policy, run.folder)
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
                console=run.console,
                name=name,
                seed=experiment.seed,
                rate=run.judge.rate,
            )
        )
    return judged
