from pathlib import Path

import pytest

from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import MetricsWriter
from reasoning_lab.runs.report import Picture, Sample, write_report

SAMPLES = [
    Sample("What is 2 + 3?", "<reasoning>2 + 3 = 5.</reasoning>\n<answer>5</answer>", "5", True),
    Sample("Use ```code```?", "<answer>no</answer>", "yes", False),
]


def report_of(run: RunFolder, **changes: object) -> str:
    arguments: dict[str, object] = {
        "command": "python launch.py lora.rank=4",
        "settings": {"model": "gemma3_270m", "data": "a|b"},
        "evaluation": "| model | correct |\n|---|---|\n| tuned | 60/64 |\n",
        "data": "- sums: Of 9 read: 1 held out, 8 kept.",
        "samples": SAMPLES,
        "next_steps": {"Ask it": f"python -m reasoning_lab ask {run.id} 'What is 9 + 9?'"},
        "pictures": [Picture("Loss", "Loss (nats per token)", {"training": "train/loss"})],
    }
    write_report(run, **{**arguments, **changes})  # type: ignore[arg-type]
    return run.report_path.read_text()


def test_a_report_tells_the_whole_story(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "sft")
    with run.status() as status, MetricsWriter(run.metrics_path) as metrics:
        for step in range(1, 4):
            metrics.log(step, {"train/loss": 3.0 / step})
            status.update(step, max_steps=3)
    report = report_of(run)
    assert report.startswith(f"# {run.id}\n")
    for part in (
        "3 of 3 steps, done",
        "python launch.py lora.rank=4",
        "| data | a\\|b |",
        "| tuned | 60/64 |",
        "## Data\n\n- sums: Of 9 read",
        "![Loss by step](loss.svg)",
        "<reasoning>2 + 3 = 5.</reasoning>",
        "*right*",
        "*wrong: the answer is yes*",
        "````\nUse ```code```?\n````",
        f"python -m reasoning_lab ask {run.id}",
    ):
        assert part in report
    assert (run.path / "loss.svg").read_text().startswith("<svg")


def test_a_run_that_failed_early_has_a_report_too(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "sft")
    with pytest.raises(ValueError, match="no data"), run.status():
        raise ValueError("no data")
    report = report_of(run, evaluation="", samples=[])
    assert "ValueError: no data" in report
    assert "failed" in report
    assert not (run.path / "loss.svg").exists()
    for heading in ("## Results", "## Loss", "## Samples"):
        assert heading not in report


def test_every_picture_has_a_file_a_heading_and_a_line_of_text(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "grpo")
    with run.status(), MetricsWriter(run.metrics_path) as metrics:
        for step in (10, 20):
            metrics.log(step, {"train/kl": 0.1, "eval/correct": 0.5})
            metrics.log(step, {"eval/correct_low": 0.4, "eval/correct_high": 0.6})
    correct = {"correct": "eval/correct"}
    band = {"correct": ("eval/correct_low", "eval/correct_high")}
    pictures = [
        Picture("Held-out accuracy", "Share", correct, bands=band, text="Greedy answers."),
        Picture("KL", "KL (nats per token)", {"KL": "train/kl"}),
        Picture("Entropy", "Entropy (nats per token)", {"entropy": "train/entropy"}),
    ]
    report = report_of(run, pictures=pictures)

    heading = "## Held-out accuracy\n\nGreedy answers.\n\n![Held-out accuracy by step]"
    assert f"{heading}(held_out_accuracy.svg)" in report
    assert "## KL\n\n![KL by step](kl.svg)" in report
    assert "Entropy" not in report
    assert {path.name for path in run.path.glob("*.svg")} == {"held_out_accuracy.svg", "kl.svg"}
    assert "<polygon" in (run.path / "held_out_accuracy.svg").read_text()
