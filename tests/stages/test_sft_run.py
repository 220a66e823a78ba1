"""The path a user takes: launch, look, ask, evaluate, stop, go on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning_lab.experiment import load
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import read_series
from reasoning_lab.runs.records import read_records
from reasoning_lab.runs.status import read_status
from tests.stages.conftest import QUICK, REPOSITORY, Command


def test_a_run_leaves_a_whole_folder(finished: Path) -> None:
    run = RunFolder.open(finished)
    assert run.id.endswith("-sft-gemma3_tiny-first")
    assert read_status(run.status_path).state == "done"
    assert load(run.config_path).stage.eval_every == 2
    manifest = json.loads(run.manifest_path.read_text())
    assert manifest["packages"]["google-tunix"] == "0.1.7"
    assert len(manifest["fingerprints"]["data"]) == 64
    assert [point.step for point in read_series(run.metrics_path, "train/loss")] == [1, 2, 3, 4]
    assert [point.step for point in read_series(run.metrics_path, "eval/loss")] == [2, 4]
    assert all(
        point.value > 0 for point in read_series(run.metrics_path, "train/tokens_per_second")
    )
    assert (run.checkpoints_dir / "4").is_dir()
    report = run.report_path.read_text()
    assert "base, zero-shot" in report
    assert "McNemar" in report
    assert f"python -m reasoning_lab ask {run.path}" in report
    assert "INFO" in run.log_path.read_text()


def test_metrics_are_named_and_free_of_library_noise(finished: Path) -> None:
    names = {
        name for record in read_records(RunFolder.open(finished).metrics_path) for name in record
    }
    assert names == {
        "step",
        "time",
        "eval/loss",
        *(
            f"train/{name}"
            for name in (
                "loss",
                "grad_norm",
                "learning_rate",
                "target_tokens",
                "epoch",
                "seconds",
                "tokens_per_second",
            )
        ),
    }


def test_every_model_answers_every_problem(finished: Path) -> None:
    records = read_records(RunFolder.open(finished).samples_path)
    by_model: dict[str, list[str]] = {}
    for one in records:
        by_model.setdefault(one["model"], []).append(one["question"])
    assert set(by_model) == {"base, zero-shot", "base, 1-shot", "tuned"}
    assert len({tuple(questions) for questions in by_model.values()}) == 1


def test_ask_streams_the_same_answer_twice(finished: Path, verb: Command) -> None:
    answers = [
        verb("ask", str(finished), "What is 2 + 2 + 5?", "--max-completion-length", "8")
        for _ in range(2)
    ]
    assert answers[0].returncode == 0, answers[0].stderr
    assert answers[0].stdout == answers[1].stdout


def test_evaluate_again_gives_the_same_table(finished: Path, verb: Command) -> None:
    again = verb("evaluate", str(finished))
    assert again.returncode == 0, again.stderr
    assert "tuned" in again.stdout
    assert "/4 " in again.stdout


def test_evaluate_on_other_data_and_more_problems(finished: Path, verb: Command) -> None:
    other = verb("evaluate", str(finished), "data=four_skills", "evaluation.problems=2")
    assert other.returncode == 0, other.stderr
    assert "multiplication" in other.stdout
    assert "/8 " in other.stdout


def test_evaluate_refuses_keys_of_the_run(finished: Path, verb: Command) -> None:
    refused = verb("evaluate", str(finished), "lora.rank=4")
    assert refused.returncode == 2
    assert "lora.rank" in refused.stderr


@pytest.mark.parametrize("words", [["ask", "nowhere", "Why?"], ["evaluate", "nowhere"]])
def test_an_unknown_run_is_named(words: list[str], verb: Command) -> None:
    refused = verb(*words)
    assert refused.returncode == 2
    assert "nowhere" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("sent", "status", "state"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGKILL, -signal.SIGKILL, "killed")],
)
def test_a_stopped_run_goes_on(
    sent: signal.Signals, status: int, state: str, tmp_path: Path, verb: Command
) -> None:
    """tests/engine shows that the weights are then those of a run left alone, bit for bit."""
    arguments = (*QUICK, f"runs_dir={tmp_path}", "stage.max_steps=80", "evaluation.baseline=false")
    output, is_sent = "", False
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(REPOSITORY / "launch.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output += line
            if line.startswith("train 8/80") and not is_sent:
                process.send_signal(sent)
                is_sent = True  # a second Ctrl-C would stop the run before it has saved
    assert process.returncode == status, output
    (folder,) = tmp_path.iterdir()
    run = RunFolder.open(folder)
    assert read_status(run.status_path).state == state
    if state == "interrupted":
        assert f"python -m reasoning_lab resume {folder}" in output.replace("\n", "")

    resumed = verb("resume", str(folder))
    assert resumed.returncode == 0, resumed.stderr + resumed.stdout
    assert "going on from the checkpoint of step" in resumed.stdout
    assert read_status(run.status_path).state == "done"
    steps = [point.step for point in read_series(run.metrics_path, "train/loss")]
    assert steps == list(range(1, 81))


def test_all_examples_too_long_is_said_before_training(launch: Command, tmp_path: Path) -> None:
    refused = launch(*QUICK, f"runs_dir={tmp_path}", "stage.max_length=16", "stage.batch_tokens=32")
    assert refused.returncode == 2
    assert "stage.max_length=16" in refused.stderr
    assert "Traceback" not in refused.stderr
    (folder,) = tmp_path.iterdir()
    assert read_status(folder / "status.json").state == "failed"


def test_wrong_data_columns_name_those_found(launch: Command, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "1 + 1?", "response": "2"}\n')
    refused = launch(
        *QUICK, "data=table", f"data.sources.table.path={path}", f"runs_dir={tmp_path / 'runs'}"
    )
    assert refused.returncode == 2, refused.stdout
    assert "prompt" in refused.stderr
    assert "response" in refused.stderr


def test_unwritable_runs_dir_is_named(launch: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = launch(*QUICK, f"runs_dir={tmp_path / 'file'}")
    assert refused.returncode == 2
    assert "runs_dir=" in refused.stderr
