"""What one can do with a finished run: ask it, and evaluate it again."""

import re
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from reasoning_lab.config import ConfigError
from reasoning_lab.config.build import TARGET, to_mapping
from reasoning_lab.data.mixture import build_held_out
from reasoning_lab.engine import devices
from reasoning_lab.engine.models import Policy, load_tokenizer
from reasoning_lab.evaluation.tables import results_table
from reasoning_lab.experiment import Experiment, compose, compose_hardware, load
from reasoning_lab.formats import render_prompt
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages.evaluate import evaluate_tuned
from reasoning_lab.stages.lineage import build_problems, restore_best
from reasoning_lab.stages.progress import make_console
from reasoning_lab.stages.session import open_policy
from reasoning_lab.stages.tokens import Tokens


def ask(
    folder: RunFolder,
    question: str,
    overrides: Sequence[str] = (),
    *,
    max_completion_length: int,
    temperature: float,
    seed: int,
) -> None:
    """Stream the tuned model's answer to standard output, on the run's hardware or another."""
    if not question.strip():
        raise ConfigError("The question is empty.")
    if temperature < 0 or max_completion_length < 1:
        raise ConfigError("--temperature must be 0 or more, and --max-completion-length 1 or more.")
    with Console(stderr=True).status("loading the model"):
        policy = restore(folder, _on(load(folder.config_path), overrides))
    prompt = policy.tokenizer.prompt(render_prompt(question))
    generator = policy.generator(batch_size=1)
    for piece in generator.stream(
        prompt, max_completion_length, temperature=temperature, seed=seed
    ):
        print(piece, end="", flush=True)
    print()


def evaluate(folder: RunFolder, overrides: Sequence[str]) -> None:
    """Evaluate the tuned model on the run's own held-out problems, or on those of other data."""
    console = make_console()
    elsewhere = [text for text in overrides if re.match(r"hardware\b", text.lstrip("+~"))]
    overrides = [text for text in overrides if text not in elsewhere]
    experiment = _on(load(folder.config_path), elsewhere)
    own = build_problems(experiment, Tokens(load_tokenizer(experiment.model), experiment.stage))
    other = _other(experiment, overrides)
    problems = build_held_out(
        other.data, held_out=other.evaluation.problems, seed=other.seed, trained_on=own.train
    )
    judged = evaluate_tuned(
        restore(folder, experiment),
        problems,
        other.evaluation,
        batch_size=experiment.hardware.generation_batch_size,
        console=console,
    )
    console.print(results_table([judged.summary]))


def _other(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    """The experiment with another data config, and single evaluation keys changed."""
    words = [text.lstrip("+~").partition("=")[0] for text in overrides]
    if wrong := [word for word in words if not re.match(r"(data|evaluation)\b", word)]:
        raise ConfigError(
            f"{', '.join(wrong)}: only data=..., data.*, evaluation.*, hardware=... and hardware.* "
            "can stand here; the rest is the run's own."
        )
    own = to_mapping(experiment.evaluation).items()
    kept = [f"evaluation.{key}={value}" for key, value in own if key != TARGET]
    other = compose([*kept, *overrides], "on the command line")
    if not any(word.startswith("data") for word in words):
        other = replace(other, data=experiment.data)
    return replace(other, seed=experiment.seed)


def _on(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    """The experiment on another machine, or with single keys of its hardware changed."""
    if not overrides:
        return experiment
    return replace(experiment, hardware=compose_hardware(overrides, experiment.hardware))


def restore(folder: RunFolder, experiment: Experiment) -> Policy:
    """The tuned model of a run."""
    policy = open_policy(experiment, devices.start(experiment.hardware))
    restore_best(policy, folder)
    return policy
