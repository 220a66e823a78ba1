"""The path a user takes with GRPO: train from a run or from scratch, look, stop, go on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.engine.grpo_cluster import NotANumberError
from reasoning_lab.engine.tokenizer import byte_tokenizer
from reasoning_lab.experiment import compose, load
from reasoning_lab.rewards.scoring import RewardError
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import read_names, read_series
from reasoning_lab.runs.records import read_records
from reasoning_lab.runs.status import read_status
from reasoning_lab.stages import recipe
from reasoning_lab.stages.lineage import build_problems, split_held_out
from reasoning_lab.stages.tokens import Tokens
from tests.stages.conftest import REPOSITORY, XLA_FLAGS, Command

QUICK = (
    "experiment=quick_cpu",
    "stage=grpo",
    "reward=[math,format]",
    "stage.batch_size=2",
    "stage.num_generations=4",
    "stage.max_prompt_length=160",
    "stage.max_completion_length=12",
    "stage.row_length=256",
    "stage.eval_every=2",
    "stage.eval_problems=3",
    "stage.rollouts_every=2",
    "evaluation.few_shot=0",
)
RECORD = {
    *("step", "example_id", "domain", "question", "answer", "completion", "reward"),
    *("reward/math", "reward/format", "advantage", "correct", "truncated", "tokens", "log_probs"),
}


@pytest.fixture(scope="session")
def warm(launch: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of an SFT run and of the GRPO run that began with it: one command."""
    runs_dir = tmp_path_factory.mktemp("warm")
    done = launch(
        *QUICK,
        f"runs_dir={runs_dir}",
        "stage@warm_start=sft",
        "warm_start.max_steps=2",
        "name=first",
        "stage.beta=0.04",
    )
    assert done.returncode == 0, done.stderr + done.stdout
    first, second = sorted(runs_dir.iterdir(), key=lambda path: "-grpo-" in path.name)
    return first, second


@pytest.fixture(scope="session")
def trained(warm: tuple[Path, Path]) -> RunFolder:
    return RunFolder.open(warm[1])


def test_a_warm_start_is_a_run_of_its_own(warm: tuple[Path, Path], trained: RunFolder) -> None:
    sft = RunFolder.open(warm[0])
    assert "-sft-gemma3_tiny-first" in sft.id
    assert "-grpo-gemma3_tiny-first" in trained.id
    before, after = load(sft.config_path), load(trained.config_path)
    assert (before.stage.max_steps, before.reward, before.init_from) == (2, {}, None)
    assert after.init_from == sft.id
    assert after.warm_start is None
    assert {read_status(run.status_path).state for run in (sft, trained)} == {"done"}
    assert f"beginning with step 2 of {sft.id}" in trained.log_path.read_text()


def test_held_out_problems_are_those_that_no_run_trained_on(
    warm: tuple[Path, Path], trained: RunFolder
) -> None:
    sft, grpo = (load(RunFolder.open(path).config_path) for path in warm)
    tokenizer = byte_tokenizer()
    learned = build_problems(sft, Tokens(tokenizer, sft.stage)).train
    mixture = build_problems(grpo, Tokens(tokenizer, grpo.stage))
    final, running = split_held_out(mixture, grpo)
    assert (len(final), len(running)) == (4, 3)
    for key in ("id", "wording"):
        seen = {getattr(problem, key) for problem in (*learned, *mixture.train)}
        ends = [{getattr(problem, key) for problem in part} for part in (final, running)]
        assert not seen & (ends[0] | ends[1])
        assert not ends[0] & ends[1]
    asked = {record["question"] for record in read_records(trained.samples_path)}
    assert asked == {problem.question for problem in final}
    trained_on = {record["question"] for record in read_records(trained.rollouts_path)}
    assert trained_on <= {problem.question for problem in mixture.train}


def test_a_run_leaves_a_whole_folder(trained: RunFolder) -> None:
    assert [p.step for p in read_series(trained.metrics_path, "eval/correct")] == [0, 2, 4]
    assert [p.step for p in read_series(trained.metrics_path, "reward/total")] == [1, 2, 3, 4]
    names = set(read_names(trained.metrics_path))
    assert {
        *("train/loss", "train/kl", "train/entropy", "train/grad_norm", "train/learning_rate"),
        *("reward/math", "reward/format", "groups/dead", "completion/length", "time/rollout"),
        *("eval/well_formed", "eval/correct_low", "eval/correct_high"),
    } <= names
    rollouts = read_records(trained.rollouts_path)
    assert [line["step"] for line in rollouts] == [n for n in (1, 2, 4) for _ in range(8)]
    assert all(set(line) == RECORD for line in rollouts)
    assert all(len(line["tokens"]) == len(line["log_probs"]) for line in rollouts)
    assert (trained.checkpoints_dir / "4").is_dir()
    [best] = [path.name for path in trained.best_dir.iterdir() if path.name.isdigit()]
    assert best == "0"  # no later one answered more of three problems
    manifest = json.loads(trained.manifest_path.read_text())
    assert len(manifest["fingerprints"]["data"]) == 64


def test_base_start_and_result_answer_the_same_problems(trained: RunFolder) -> None:
    by_model: dict[str, list[str]] = {}
    for one in read_records(trained.samples_path):
        by_model.setdefault(one["model"], []).append(one["question"])
    assert list(by_model) == ["base, zero-shot", "SFT", "GRPO"]
    assert len({tuple(questions) for questions in by_model.values()}) == 1


def test_the_report_begins_with_the_verdict_and_shows_pictures(
    warm: tuple[Path, Path], trained: RunFolder
) -> None:
    text = trained.report_path.read_text()
    assert "**GRPO cannot be told apart from SFT: " in text
    assert f"use the SFT run {warm[0].name}." in text
    assert f"| begins with | {warm[0].name} |" in text
    assert "| completions a step | 2 problems x 4 |" in text
    drawn = {path.name for path in trained.path.glob("*.svg")}
    assert {"held_out_accuracy.svg", "reward.svg", "kl.svg", "entropy.svg"} <= drawn
    assert all(f"({name})" in text for name in drawn)


def test_ask_and_evaluate_use_the_best_checkpoint(
    trained: RunFolder, verb: Command, tmp_path: Path
) -> None:
    """They do without the others, and not without it."""
    hidden = trained.checkpoints_dir.rename(tmp_path / "elsewhere")
    try:
        asked = verb("ask", str(trained.path), "What is 2 + 2?", "--max-completion-length", "4")
        again = verb("evaluate", str(trained.path))
    finally:
        hidden.rename(trained.checkpoints_dir)
    assert asked.returncode == 0, asked.stderr
    assert again.returncode == 0, again.stderr
    assert "/4 " in again.stdout


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # by Tunix
def test_latest_is_pinned_to_the_run_that_it_was(trained: RunFolder) -> None:
    """And a run of GRPO can begin with another one."""
    words = [f"runs_dir={trained.path.parent}", "init_from=latest", "stage.max_steps=1"]
    run = recipe.run(compose([*QUICK, *words, "name=second"]))
    assert load(run.config_path).init_from == trained.id
    assert "GRPO before" in run.report_path.read_text()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["init_from=nowhere"], ["init_from=nowhere"]),
        (["lora.rank=8"], ["lora.rank is 16 there and 8 here"]),
        (
            ["model=gemma3_270m"],
            ["model.architecture is gemma3_tiny there and gemma3_270m here"],
        ),
    ],
    ids=["no such run", "another rank", "another model"],
)
def test_a_wrong_start_is_told_before_a_model_is_loaded(
    overrides: list[str], told: list[str], launch: Command, trained: RunFolder, tmp_path: Path
) -> None:
    refused = launch(*QUICK, f"runs_dir={tmp_path}", f"init_from={trained.path}", *overrides)
    assert refused.returncode == 2, refused.stderr
    assert "Traceback" not in refused.stderr
    for part in ["init_from=", *told]:
        assert part in refused.stderr
    assert not list(tmp_path.iterdir())


def test_a_stopped_run_goes_on(tmp_path: Path, verb: Command) -> None:
    """tests/engine shows that the weights are then those of a run left alone, bit for bit."""
    arguments = (*QUICK, f"runs_dir={tmp_path}", "stage.max_steps=20", "stage.eval_every=10")
    output, is_sent = "", False
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(REPOSITORY / "launch.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "XLA_FLAGS": XLA_FLAGS},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output += line
            if line.startswith("train 4/20") and not is_sent:
                process.send_signal(signal.SIGINT)
                is_sent = True  # a second Ctrl-C would stop the run before it has saved
    assert process.returncode == 130, output
    (folder,) = tmp_path.iterdir()
    run = RunFolder.open(folder)
    assert read_status(run.status_path).state == "interrupted"
    assert f"python -m reasoning_lab resume {folder}" in output.replace("\n", "")

    resumed = verb("resume", str(folder))
    assert resumed.returncode == 0, resumed.stderr + resumed.stdout
    assert "going on from the checkpoint of step" in resumed.stdout
    assert read_status(run.status_path).state == "done"
    for name, steps in {"train/loss": range(1, 21), "eval/correct": (0, 10, 20)}.items():
        assert [p.step for p in read_series(run.metrics_path, name)] == list(steps)
    counted = [line["step"] for line in read_records(run.rollouts_path)]
    assert counted == [n for n in (1, *range(2, 21, 2)) for _ in range(8)]


REWARDS = """
import time

def raises(attempts):
    raise ZeroDivisionError("a bug of mine")

def hangs(attempts):
    time.sleep(5)

def no_number(attempts):
    return [float("nan") if n == 1 else float(n) for n in range(len(attempts))]
"""


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("raises", "reward.function raised ZeroDivisionError('a bug of mine')"),
        ("hangs", "reward.function took longer than stage.reward_timeout=0.5 s 3 times in a row"),
        ("no_number", "stage.on_nan=skip"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # by Tunix
def test_a_reward_that_fails_leaves_the_samples_and_a_failed_run(
    function: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"rewards_of_{function}"
    (tmp_path / f"{module}.py").write_text(REWARDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("REASONING_LAB_ALLOW_TARGETS", module)
    words = ["reward=function", f"reward.function.path={module}.{function}"]
    words += [f"runs_dir={tmp_path / 'runs'}", "stage.eval_every=0", "stage.reward_timeout=0.5"]
    with pytest.raises((RewardError, NotANumberError)) as error:
        recipe.run(compose([*QUICK, *words]))
    assert told in str(error.value)
    (folder,) = (tmp_path / "runs").iterdir()
    run = RunFolder.open(folder)
    assert read_status(run.status_path).state == "failed"
    assert "offending.json" in run.log_path.read_text()
    samples: Any = json.loads(run.offending_path.read_text())
    if function == "no_number":
        [sample] = samples
        assert sample["step"] == 1
        assert {"question", "completion", "reward/function"} <= set(sample)
    else:
        assert samples["reward"] == "reward.function"
        assert len(samples["attempts"]) == (1 if function == "raises" else 8)
        assert "completion" in samples["attempts"][0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # by Tunix
def test_prompts_that_are_all_too_long_are_said_before_training(tmp_path: Path) -> None:
    words = [f"runs_dir={tmp_path}", "stage.max_prompt_length=16"]
    with pytest.raises(ConfigError, match=r"3000 longer than stage\.max_prompt_length=16, 0 kept"):
        recipe.run(compose([*QUICK, *words]))
    (folder,) = tmp_path.iterdir()
    assert read_status(folder / "status.json").state == "failed"
    assert not (folder / "metrics.jsonl").exists()
