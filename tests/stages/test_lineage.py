"""What a run may hold out, given the runs it descends from."""

from dataclasses import replace
from pathlib import Path

from reasoning_lab.data.mixture import Mixture
from reasoning_lab.engine.tokenizer import byte_tokenizer
from reasoning_lab.experiment import Experiment, compose, to_yaml
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.stages import lineage
from reasoning_lab.stages.lineage import split_held_out
from reasoning_lab.stages.tokens import Tokens


def build_problems(experiment: Experiment) -> Mixture:
    return lineage.build_problems(experiment, Tokens(byte_tokenizer(), experiment.stage))


def run_of(runs: Path, name: str, *overrides: str) -> Experiment:
    """An experiment with a folder that says it has run."""
    small = ["experiment=quick_cpu", "data.sources.running_sum.rows=300", f"runs_dir={runs}"]
    experiment = compose([*small, *overrides])
    folder = RunFolder.create(runs, name)
    folder.config_path.write_text(to_yaml(experiment))
    return replace(experiment, name=folder.id)


def test_nothing_that_any_ancestor_trained_on_is_held_out(tmp_path: Path) -> None:
    first = run_of(tmp_path, "sft", "seed=0")
    second = run_of(tmp_path, "grpo", "stage=grpo", "seed=1", f"init_from={first.name}")
    third = run_of(tmp_path, "grpo", "stage=grpo", "seed=2", f"init_from={second.name}")
    held_out = {problem.wording for problem in build_problems(third).held_out}
    assert held_out
    for ancestor in (first, second):
        trained = {problem.wording for problem in build_problems(ancestor).train}
        assert not held_out & trained
    alone = {p.wording for p in build_problems(replace(third, init_from=None)).held_out}
    grandparents = {problem.wording for problem in build_problems(first).train}
    assert alone & grandparents  # it would have happened


def test_the_problems_for_the_end_are_those_of_the_run_before(tmp_path: Path) -> None:
    sft = run_of(tmp_path, "sft")
    grpo = run_of(tmp_path, "grpo", "stage=grpo", f"init_from={sft.name}")
    final, running = split_held_out(build_problems(grpo), grpo)
    assert final == build_problems(sft).held_out
    assert len(running) == 32
    assert not set(final) & set(running)
