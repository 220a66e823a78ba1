"""Supervised fine-tuning, from an experiment to a finished run folder.

Reads top to bottom: claim a folder, build data and model, train, compare with the untuned model,
report. Left out on purpose: choosing among checkpoints by held-out loss; the last one is kept.
"""

import logging
import time
from collections.abc import Sequence

import numpy as np
from rich.console import Console

from reasoning_lab.config import ConfigError
from reasoning_lab.data.mixture import Mixture
from reasoning_lab.data.packing import Batch, PackedRows
from reasoning_lab.engine import devices
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.models import Policy, load_tokenizer
from reasoning_lab.engine.trainer import SFTTrainer, held_out_loss
from reasoning_lab.experiment import Experiment
from reasoning_lab.rewards import correctness
from reasoning_lab.runs.files import naming_full_disk
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.logs import logging_to
from reasoning_lab.runs.metrics import MetricsWriter
from reasoning_lab.runs.status import StatusWriter
from reasoning_lab.stages.evaluate import evaluate_base, evaluate_tuned
from reasoning_lab.stages.lineage import begin_with, build_problems
from reasoning_lab.stages.memory import explaining_memory
from reasoning_lab.stages.parents import parent_of
from reasoning_lab.stages.progress import progress_bar
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
from reasoning_lab.stages.specs import SFTSpec
from reasoning_lab.stages.timing import keep_times
from reasoning_lab.stages.tokens import Tokens
from reasoning_lab.tracking.tracker import Tracker

_log = logging.getLogger(__name__)


def train_and_evaluate(experiment: Experiment, folder: RunFolder) -> None:
    """Train in a run's folder, from its newest checkpoint if there is one, and evaluate."""
    console = console_of(folder)
    stage = experiment.stage
    assert isinstance(stage, SFTSpec)
    with (
        logging_to(folder.log_path, console),
        folder.status() as status,
        explaining_memory(experiment, folder),
    ):
        _log.info("run %s", folder.path)
        parent = parent_of(experiment)
        mesh = devices.start(experiment.hardware)
        tokens = Tokens(load_tokenizer(experiment.model), stage)
        mixture = build_problems(experiment, tokens)
        log_funnel(mixture, folder)
        correctness.prepare(mixture.held_out)
        rows = pack(mixture, tokens, stage, experiment.seed)
        check_epochs(planned_epochs(stage, rows), experiment)
        policy = open_policy(experiment, mesh)
        begin_with(parent, policy)
        trainer = _trainer(experiment, stage, folder, policy, rows)
        check_disk(trainer.checkpoint_bytes, experiment, folder)
        write_manifest(experiment, folder, mixture, policy, begun_at=trainer.train_steps)
        with track(experiment, folder, "sft", trainer.train_steps) as tracker:
            held_out = _held_out_batches(mixture, tokens, experiment, stage)
            _train(trainer, experiment, stage, folder, held_out, rows, status, tracker, console)
            batch_size = experiment.hardware.generation_batch_size
            judged = []
            if experiment.evaluation.baseline:
                judged += evaluate_base(
                    policy, mixture, experiment.evaluation, batch_size=batch_size, console=console
                )
            judged.append(
                evaluate_tuned(
                    policy,
                    mixture.held_out,
                    experiment.evaluation,
                    batch_size=batch_size,
                    console=console,
                )
            )
            record(judged, folder, tracker, step=trainer.train_steps)
    settings = {"tokens a step": stage.batch_tokens}
    report(judged, experiment, folder, funnel=mixture.funnel, settings=settings)
    announce(judged, experiment, folder, console)


def pack(mixture: Mixture, tokens: Tokens, stage: SFTSpec, seed: int) -> PackedRows:
    """Training rows, with their number and padding said in the log."""
    rows = PackedRows(
        tokens.all_taught(mixture.train),
        max_length=stage.max_length,
        rows_per_batch=stage.batch_tokens // stage.max_length,
        seed=seed,
        packing=stage.packing,
    )
    _log.info(
        "data: %d examples in %d rows of %d tokens, %.1f%% padding",
        len(mixture.train),
        len(rows.rows),
        stage.max_length,
        100 * rows.padding_fraction,
    )
    return rows


def count_steps(stage: SFTSpec, rows: PackedRows) -> int:
    if stage.max_steps is not None:
        return stage.max_steps
    return max(1, round(stage.epochs * len(rows.rows) / rows.rows_per_batch))


def planned_epochs(stage: SFTSpec, rows: PackedRows) -> float:
    return count_steps(stage, rows) * rows.rows_per_batch / len(rows.rows)


def _trainer(
    experiment: Experiment, stage: SFTSpec, folder: RunFolder, policy: Policy, rows: PackedRows
) -> SFTTrainer:
    return SFTTrainer(
        policy,
        stage=stage,
        batch_fn=rows.batch,
        max_steps=count_steps(stage, rows),
        micro_batches=experiment.hardware.micro_batches(rows.rows_per_batch),
        execution=Execution.on(policy.mesh, experiment.hardware),
        checkpoint_dir=folder.checkpoints_dir,
    )


def _train(
    trainer: SFTTrainer,
    experiment: Experiment,
    stage: SFTSpec,
    folder: RunFolder,
    held_out: Sequence[Batch],
    rows: PackedRows,
    status: StatusWriter,
    tracker: Tracker,
    console: Console,
) -> None:
    """Train to the end; on Ctrl-C save, say how to go on, and raise KeyboardInterrupt."""
    begun_at, max_steps = trainer.train_steps, trainer.max_steps
    execution = Execution.on(trainer.policy.mesh, experiment.hardware)
    if begun_at:
        _log.info("going on from the checkpoint of step %d", begun_at)
    status.update(begun_at, max_steps)
    with (
        MetricsWriter(folder.metrics_path, resume_step=begun_at) as metrics,
        naming_full_disk(folder.checkpoints_dir),
        progress_bar(console, "train", max_steps) as bar,
        stopping_on_interrupt(trainer),
    ):
        bar.update(begun_at)
        clock = time.perf_counter()

        def on_step(step: int, values: dict[str, float]) -> None:
            nonlocal clock
            tokens = int(np.count_nonzero(rows.batch(step - 1)["segment_ids"]))
            now = time.perf_counter()
            values |= {
                "train/epoch": rows.epoch_of(step),
                "train/seconds": now - clock,
                "train/tokens_per_second": tokens / (now - clock),
            }
            clock = now
            metrics.log(step, values)
            tracker.log(step, values)
            status.update(step)
            speed = values["train/tokens_per_second"]
            bar.update(step, f"loss {values['train/loss']:.3f}  {speed:,.0f} tokens/s")

        def measure_held_out(step: int) -> None:
            every = stage.eval_every
            if every and (step % every == 0 or step == max_steps):
                loss = {"eval/loss": held_out_loss(trainer.policy, held_out, execution)}
                metrics.log(step, loss)
                tracker.log(step, loss)

        done = trainer.fit(on_step, measure_held_out, stop_at=experiment.stop_at)
    keep_times(experiment, folder, devices=devices.describe(), begun_at=begun_at)
    stop_here(done, max_steps, folder, console, stop_at=experiment.stop_at)


def _held_out_batches(
    mixture: Mixture, tokens: Tokens, experiment: Experiment, stage: SFTSpec
) -> list[Batch]:
    """Held-out examples with reasoning as rows, each once."""
    if not stage.eval_every:
        return []
    examples = tokens.all_taught(mixture.held_out)
    if not examples:
        raise ConfigError(
            f"stage.eval_every={stage.eval_every}: no held-out problem has a trace "
            f"of at most stage.max_length={stage.max_length} tokens. "
            "Use stage.eval_every=0."
        )
    rows = PackedRows(
        examples,
        max_length=stage.max_length,
        rows_per_batch=experiment.hardware.rows_at_once,
        seed=experiment.seed,
    )
    batches = [rows.batch(step) for step in range(rows.steps_per_epoch)]
    surplus = len(batches) * rows.rows_per_batch - len(rows.rows)
    if surplus:  # rows of the next epoch, seen already
        batches[-1]["loss_mask"][-surplus:] = False
    return batches
