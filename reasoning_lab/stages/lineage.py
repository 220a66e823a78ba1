"""The runs that a run begins with (`init_from`), and what they were trained on."""

import logging
from collections.abc import Iterator

from reasoning_lab.data.example import Example
from reasoning_lab.data.mixture import Mixture, build_mixture, keep_only
from reasoning_lab.data.shares import cut_to_shares
from reasoning_lab.engine.checkpoints import restore_lora
from reasoning_lab.engine.models import Policy
from reasoning_lab.engine.tokenizer import Tokenizer
from reasoning_lab.experiment import Experiment
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages.parents import Parent, parent_of
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec
from reasoning_lab.stages.tokens import Tokens

_log = logging.getLogger(__name__)


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
