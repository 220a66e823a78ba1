"""The recipe for the stage that an experiment names."""

from dataclasses import replace

from reasoning_lab.experiment import Experiment, load, to_yaml
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages import grpo, sft
from reasoning_lab.stages.lineage import pinned
from reasoning_lab.stages.specs import GRPOSpec


def run(experiment: Experiment) -> RunFolder:
    """Train and evaluate in a new run folder.

    Raises:
        ConfigError: what is missing or wrong, and what to do about it.
    """
    if experiment.warm_start is not None:
        start = run(
            replace(
                experiment,
                stage=experiment.warm_start,
                reward={},
                warm_start=None,
                # The base model is measured at the end, on the same problems.
                evaluation=replace(experiment.evaluation, baseline=False),
            )
        )
        experiment = replace(experiment, warm_start=None, init_from=str(start.path))
    experiment = pinned(experiment)
    stage = "grpo" if isinstance(experiment.stage, GRPOSpec) else "sft"
    name = [experiment.name] if experiment.name else []
    folder = RunFolder.create(experiment.runs_dir, stage, experiment.model.architecture, *name)
    write_atomically(folder.config_path, to_yaml(experiment))
    _train_and_evaluate(experiment, folder)
    return folder


def resume(folder: RunFolder) -> None:
    """Go on with an interrupted, failed or killed run from its newest checkpoint."""
    _train_and_evaluate(load(folder.config_path), folder)


def _train_and_evaluate(experiment: Experiment, folder: RunFolder) -> None:
    recipe = grpo if isinstance(experiment.stage, GRPOSpec) else sft
    recipe.train_and_evaluate(experiment, folder)
