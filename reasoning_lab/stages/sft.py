"""Supervised fine-tuning, from an experiment to a finished run folder.

Reads top to bottom: claim a folder, build data and model, train, compare with the untuned model,
report. Left out on purpose: choosing among checkpoints by held-out loss; the last one is kept.
"""

import json
import logging
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np
from rich.console import Console

from reasoning_lab.config import ConfigError
from reasoning_lab.config.build import to_mapping
from reasoning_lab.data.mixture import Mixture, build_mixture
from reasoning_lab.data.packing import Batch, PackedRows, TokenizedExample, drop_overlong
from reasoning_lab.engine import devices
from reasoning_lab.engine.models import Policy, fingerprint, load_policy
from reasoning_lab.engine.tokenizer import Tokenizer
from reasoning_lab.engine.trainer import SFTTrainer, held_out_loss
from reasoning_lab.experiment import Experiment, load, to_yaml
from reasoning_lab.formats import render_completion, render_prompt
from reasoning_lab.runs.files import naming_full_disk, write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.logs import logging_to
from reasoning_lab.runs.manifest import describe_run
from reasoning_lab.runs.metrics import MetricsWriter
from reasoning_lab.runs.status import StatusWriter
from reasoning_lab.stages.evaluate import evaluate_base, evaluate_tuned
from reasoning_lab.stages.progress import make_console, progress_bar
from reasoning_lab.stages.results import announce, record, report
from reasoning_lab.tracking.tracker import Tracker, open_tracker

_PACKAGES = ("google-tunix", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "reasoning-gym")

_log = logging.getLogger(__name__)


def run(experiment: Experiment) -> RunFolder:
    """Train and evaluate in a new run folder."""
    name = [experiment.name] if experiment.name else []
    folder = RunFolder.create(experiment.runs_dir, "sft", experiment.model.architecture, *name)
    write_atomically(folder.config_path, to_yaml(experiment))
    _train_and_evaluate(experiment, folder)
    return folder


def resume(folder: RunFolder) -> None:
    """Go on with an interrupted, failed or killed run from its newest checkpoint."""
    _train_and_evaluate(load(folder.config_path), folder)


def _train_and_evaluate(experiment: Experiment, folder: RunFolder) -> None:
    console = make_console()
    with logging_to(folder.log_path, console), folder.status() as status:
        _log.info("run %s", folder.path)
        mesh = devices.start(experiment.hardware)
        mixture = build_mixture(
            experiment.data, held_out=experiment.evaluation.problems, seed=experiment.seed
        )
        policy = load_policy(
            experiment.model,
            experiment.lora,
            param_dtype=experiment.hardware.param_dtype,
            mesh=mesh,
            seed=experiment.seed,
        )
        rows = pack(mixture, policy.tokenizer, experiment)
        trainer = _trainer(experiment, folder, policy, rows)
        _check_disk(trainer, experiment, folder)
        _write_manifest(experiment, folder, mixture, policy)
        tracking = open_tracker(
            experiment.tracking,
            folder.path,
            to_mapping(experiment),
            job_type="sft",
            resume_step=trainer.train_steps or None,
        )
        with tracking as tracker:
            _train(trainer, experiment, folder, mixture, rows, status, tracker, console)
            batch_size = experiment.hardware.eval_batch_size
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
    report(judged, experiment, folder)
    announce(judged, experiment, folder, console)


def tokenize(mixture: Mixture, tokenizer: Tokenizer) -> list[TokenizedExample]:
    """Training examples as the model sees them: the user's turn, the completion, its end marker."""
    examples = []
    for example in mixture.train:
        assert example.reasoning is not None  # the mixture drops those without
        prompt = tokenizer.prompt(render_prompt(example.question))
        completion = tokenizer.completion(render_completion(example.reasoning, example.answer))
        examples.append(TokenizedExample(prompt + completion, len(prompt), example.id))
    return examples


def pack(mixture: Mixture, tokenizer: Tokenizer, experiment: Experiment) -> PackedRows:
    """Training rows, with what happened to every example said in the log.

    Raises:
        ConfigError: no example is short enough.
    """
    stage = experiment.stage
    examples, too_long = drop_overlong(tokenize(mixture, tokenizer), stage.max_length)
    if not examples:
        raise ConfigError(
            f"stage.max_length={stage.max_length}: all {too_long} training examples are longer. "
            "Raise stage.max_length or choose shorter data."
        )
    rows = PackedRows(
        examples,
        max_length=stage.max_length,
        rows_per_batch=stage.batch_tokens // stage.max_length,
        seed=experiment.seed,
        packing=stage.packing,
    )
    for row in mixture.funnel:
        _log.info(
            "data %s: read %d, held out %d, dropped %d duplicates, %d overlapping, "
            "%d without reasoning; %d train",
            *(row.source, row.read, row.held_out),
            *(row.duplicates, row.overlapping, row.no_reasoning, row.kept),
        )
    _log.info(
        "data: %d examples in %d rows of %d tokens, %.1f%% padding; %d longer ones dropped",
        len(examples),
        len(rows.rows),
        stage.max_length,
        100 * rows.padding_fraction,
        too_long,
    )
    return rows


def count_steps(experiment: Experiment, rows: PackedRows) -> int:
    if experiment.stage.max_steps is not None:
        return experiment.stage.max_steps
    return max(1, round(experiment.stage.epochs * len(rows.rows) / rows.rows_per_batch))


def _trainer(
    experiment: Experiment, folder: RunFolder, policy: Policy, rows: PackedRows
) -> SFTTrainer:
    rows_at_once = experiment.hardware.fsdp * experiment.hardware.rows_per_micro_batch
    return SFTTrainer(
        policy,
        stage=experiment.stage,
        batch_fn=rows.batch,
        max_steps=count_steps(experiment, rows),
        micro_batches=max(1, rows.rows_per_batch // rows_at_once),
        remat=experiment.hardware.remat,
        checkpoint_dir=folder.checkpoints_dir,
    )


def _check_disk(trainer: SFTTrainer, experiment: Experiment, folder: RunFolder) -> None:
    """Raises: ConfigError before training, if the checkpoints will not fit."""
    needed = trainer.checkpoint_bytes * (experiment.stage.checkpoints_to_keep + 1)
    free = shutil.disk_usage(folder.path).free
    if needed > free:
        raise ConfigError(
            f"{folder.path}: the checkpoints need {needed / 1e6:,.0f} MB (of "
            f"stage.checkpoints_to_keep={experiment.stage.checkpoints_to_keep} and one being "
            f"written), and {free / 1e6:,.0f} MB are free. Free some space or choose another "
            "runs_dir."
        )


def _train(
    trainer: SFTTrainer,
    experiment: Experiment,
    folder: RunFolder,
    mixture: Mixture,
    rows: PackedRows,
    status: StatusWriter,
    tracker: Tracker,
    console: Console,
) -> None:
    """Train to the end; on Ctrl-C save, say how to go on, and raise KeyboardInterrupt."""
    begun_at, max_steps = trainer.train_steps, trainer.max_steps
    if begun_at:
        _log.info("going on from the checkpoint of step %d", begun_at)
    status.update(begun_at, max_steps)
    resume_step = begun_at or None
    with (
        MetricsWriter(folder.metrics_path, resume_step=resume_step) as metrics,
        naming_full_disk(folder.checkpoints_dir),
        progress_bar(console, "train", max_steps) as bar,
        _stopping_on_interrupt(trainer),
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
            every = experiment.stage.eval_every
            if every and (step % every == 0 or step == max_steps):
                loss = {"eval/loss": held_out_loss(trainer.policy, held_out)}
                metrics.log(step, loss)
                tracker.log(step, loss)

        held_out = _held_out_batches(mixture, trainer.policy.tokenizer, experiment)
        done = trainer.fit(on_step, measure_held_out)
    if done < max_steps:
        console.print(
            f"Stopped and saved at step {done} of {max_steps}. Go on with:\n"
            f"  python -m reasoning_lab resume {folder.path}"
        )
        raise KeyboardInterrupt


def _held_out_batches(
    mixture: Mixture, tokenizer: Tokenizer, experiment: Experiment
) -> list[Batch]:
    """Held-out examples with reasoning as rows, each once."""
    if not experiment.stage.eval_every:
        return []
    problems = tuple(problem for problem in mixture.held_out if problem.reasoning)
    examples, _ = drop_overlong(
        tokenize(Mixture(problems, (), ()), tokenizer), experiment.stage.max_length
    )
    if not examples:
        raise ConfigError(
            f"stage.eval_every={experiment.stage.eval_every}: no held-out problem has a trace "
            f"of at most stage.max_length={experiment.stage.max_length} tokens. "
            "Use stage.eval_every=0."
        )
    rows = PackedRows(
        examples,
        max_length=experiment.stage.max_length,
        rows_per_batch=experiment.hardware.fsdp * experiment.hardware.rows_per_micro_batch,
        seed=experiment.seed,
    )
    batches = [rows.batch(step) for step in range(rows.steps_per_epoch)]
    surplus = len(batches) * rows.rows_per_batch - len(rows.rows)
    if surplus:  # rows of the next epoch, seen already
        batches[-1]["loss_mask"][-surplus:] = False
    return batches


@contextmanager
def _stopping_on_interrupt(trainer: SFTTrainer) -> Iterator[None]:
    """The first Ctrl-C ends training after the current step; the second one stops at once."""
    before: Callable[[int, FrameType | None], object] | int | None = signal.getsignal(signal.SIGINT)

    def request_stop(number: int, frame: FrameType | None) -> None:
        _log.warning("finishing this step and saving; press Ctrl-C again to stop at once")
        trainer.stop_requested = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, request_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _write_manifest(
    experiment: Experiment, folder: RunFolder, mixture: Mixture, policy: Policy
) -> None:
    manifest = describe_run(
        packages=_PACKAGES,
        seeds={"experiment": experiment.seed},
        fingerprints={"data": mixture.fingerprint, "weights": fingerprint(policy.base)},
        device=devices.describe(),
    )
    write_atomically(folder.manifest_path, json.dumps(manifest, indent=2) + "\n")
