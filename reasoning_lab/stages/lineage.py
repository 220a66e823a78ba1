"""The runs that a run begins with (`init_from`), and what they were trained on."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from reasoning_lab.config import ConfigError
from reasoning_lab.config.build import to_mapping
from reasoning_lab.data.example import Example
from reasoning_lab.data.mixture import Mixture, build_mixture, keep_only
from reasoning_lab.data.shares import cut_to_shares
from reasoning_lab.engine.checkpoints import restore_lora
from reasoning_lab.engine.models import Policy
from reasoning_lab.engine.tokenizer import Tokenizer
from reasoning_lab.experiment import Experiment, load
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec
from reasoning_lab.stages.tokens import Tokens

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parent:
    """The run whose LoRA weights another begins with."""

    folder: RunFolder
    experiment: Experiment

    @property
    def stage_name(self) -> str:
        """How tables call its model."""
        return "SFT" if isinstance(self.experiment.stage, SFTSpec) else "GRPO before"


def parent_of(experiment: Experiment) -> Parent | None:
    """The run named by `init_from`; none if training begins with the stock model.

    Raises:
        ConfigError: there is no such run, or it trained another model or other adapters.
    """
    if experiment.init_from is None:
        return None
    try:
        folder = RunFolder.open(experiment.init_from, experiment.runs_dir)
    except ConfigError as error:
        raise ConfigError(f"init_from={experiment.init_from}: {error}") from error
    parent = Parent(folder, load(folder.config_path))
    differences = [
        f"{group}.{key} is {was} there and {now} here"
        for group in ("model", "lora")
        for key, now, was in _compared(
            getattr(experiment, group), getattr(parent.experiment, group)
        )
    ]
    if differences:
        raise ConfigError(
            f"init_from={experiment.init_from}: {folder.id} has other adapters: "
            f"{'; '.join(differences)}. Use the run's own, or another run."
        )
    return parent


def pinned(experiment: Experiment) -> Experiment:
    """The experiment with `init_from` naming its run for good: "latest" will soon be another."""
    parent = parent_of(experiment)
    if parent is None:
        return experiment
    return replace(experiment, init_from=name_for_good(parent.folder.path, experiment.runs_dir))


def name_for_good(run: Path, runs_dir: str) -> str:
    """What `init_from` calls a run: where it is in `runs_dir`, so that both can move together."""
    run, runs = run.resolve(), Path(runs_dir).resolve()
    return str(run.relative_to(runs)) if run.is_relative_to(runs) else os.path.relpath(run)


def restore_best(policy: Policy, folder: RunFolder) -> int:
    """Load a run's best checkpoint where it has chosen one, else its newest; returns its step.

    Raises:
        ConfigError: there is none, or it does not fit.
    """
    return restore_lora(
        policy, folder.best_dir if folder.best_dir.exists() else folder.checkpoints_dir
    )


def begin_with(parent: Parent | None, policy: Policy) -> None:
    """Give the policy its parent's LoRA weights, if it has one, and say so."""
    if parent is not None:
        step = restore_best(policy, parent.folder)
        _log.info("beginning with step %d of %s", step, parent.folder.id)


def build_problems(experiment: Experiment, tokens: Tokens) -> Mixture:
    """What an experiment trains on, and holds out: nothing that it or its ancestors trained on.

    Of each source the first `evaluation.problems` held-out ones are for the end; those after them
    are for evaluations while training. Where domains have shares of their own, supervised
    fine-tuning leaves out what is beyond them; reinforcement learning draws by them.

    Args:
        tokens: of this experiment's model and stage.

    Raises:
        ConfigError: a source has too few problems that are distinct and pass the filters.
    """
    teaching = isinstance(experiment.stage, SFTSpec)
    mixture = build_mixture(
        experiment.data,
        held_out=experiment.evaluation.problems + _problems_while_training(experiment),
        seed=experiment.seed,
        needs_reasoning=teaching,
        length=tokens.length,
        trained_on=tuple(_trained_on_before(experiment, tokens.tokenizer)),
    )
    if not teaching:
        return mixture
    return keep_only(mixture, cut_to_shares(experiment.data, mixture.train), "beyond its share")


def split_held_out(
    mixture: Mixture, experiment: Experiment
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Held-out problems for the end, and those for evaluations while training."""
    final, running = [], []
    for name in experiment.data.sources:
        of_source = [problem for problem in mixture.held_out if problem.source == name]
        final += of_source[: experiment.evaluation.problems]
        running += of_source[experiment.evaluation.problems :]
    return tuple(final), tuple(running)


def _problems_while_training(experiment: Experiment) -> int:
    match experiment.stage:
        case GRPOSpec(eval_every=every, eval_problems=problems) if every:
            return problems
    return 0


def _trained_on_before(experiment: Experiment, tokenizer: Tokenizer) -> Iterator[Example]:
    parent = parent_of(experiment)
    if parent is not None:
        tokens = Tokens(tokenizer, parent.experiment.stage)
        yield from build_problems(parent.experiment, tokens).train
        yield from _trained_on_before(parent.experiment, tokenizer)


def _compared(here: object, there: object) -> Iterator[tuple[str, object, object]]:
    """(key, value here, value there) of the keys in which two specs differ."""
    ours, theirs = to_mapping(here), to_mapping(there)
    yield from ((key, ours[key], theirs[key]) for key in ours if ours[key] != theirs[key])
