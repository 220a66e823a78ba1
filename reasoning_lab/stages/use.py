"""What one can do with a finished run: ask it, and evaluate it again."""

from collections.abc import Sequence

from rich.console import Console

from reasoning_lab.config import ConfigError
from reasoning_lab.data.mixture import build_held_out
from reasoning_lab.engine import devices
from reasoning_lab.engine.checkpoints import restore_lora
from reasoning_lab.engine.models import Policy, load_policy
from reasoning_lab.evaluation.tables import results_table
from reasoning_lab.experiment import Experiment, compose, load
from reasoning_lab.formats import render_prompt
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages.evaluate import evaluate_tuned


def ask(
    folder: RunFolder, question: str, *, max_completion_length: int, temperature: float, seed: int
) -> None:
    """Stream the tuned model's answer to standard output."""
    if not question.strip():
        raise ConfigError("The question is empty.")
    if temperature < 0 or max_completion_length < 1:
        raise ConfigError("--temperature must be 0 or more, and --max-completion-length 1 or more.")
    policy = restore(folder, load(folder.config_path))
    prompt = policy.tokenizer.prompt(render_prompt(question))
    generator = policy.generator(batch_size=1)
    for piece in generator.stream(
        prompt, max_completion_length, temperature=temperature, seed=seed
    ):
        print(piece, end="", flush=True)
    print()


def evaluate(folder: RunFolder, overrides: Sequence[str]) -> None:
    """Evaluate the tuned model on the run's own held-out problems, or on those of another data config."""
    console = Console()
    experiment = load(folder.config_path)
    data, spec = experiment.data, experiment.evaluation
    if overrides:
        other = compose([*overrides], "on the command line")
        groups = {text.lstrip("+~").split("=")[0].partition(".")[0] for text in overrides}
        if surplus := groups - {"data", "evaluation"}:
            raise ConfigError(
                f"{', '.join(sorted(surplus))}: only data=..., data.* and evaluation.* can be given here; "
                "the rest is the run's own."
            )
        data, spec = (
            other.data if "data" in groups else data,
            other.evaluation if "evaluation" in groups else spec,
        )
    problems = build_held_out(data, held_out=spec.problems, seed=experiment.seed)
    policy = restore(folder, experiment)
    judged = evaluate_tuned(
        policy, problems, spec, batch_size=experiment.hardware.eval_batch_size, console=console
    )
    console.print(results_table([judged.summary]))


def restore(folder: RunFolder, experiment: Experiment) -> Policy:
    """The tuned model of a run, with its newest checkpoint."""
    policy = load_policy(
        experiment.model,
        experiment.lora,
        param_dtype=experiment.hardware.param_dtype,
        mesh=devices.start(experiment.hardware),
        seed=experiment.seed,
    )
    restore_lora(policy, folder.checkpoints_dir)
    return policy
