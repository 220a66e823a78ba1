"""What is left of an evaluated run: the folder's files, the tracker's numbers, the screen."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import SupportsFloat

import pytest
from rich.console import Console

from reasoning_lab.data.example import Example
from reasoning_lab.evaluation.metrics import score
from reasoning_lab.experiment import Experiment, compose
from reasoning_lab.formats import render_completion
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import MetricsWriter
from reasoning_lab.runs.records import read_records
from reasoning_lab.stages.evaluate import Judged
from reasoning_lab.stages.pictures import grpo_pictures
from reasoning_lab.stages.results import announce, record, report, verdicts
from reasoning_lab.tracking.tracker import NullTracker

PROBLEMS = tuple(
    Example(str(n), "sums", "addition", f"What is {n} + 1?", "I add.", str(n + 1), "")
    for n in range(8)
)
VERDICT = "GRPO beats SFT: 75% against 25% correct on 8 problems: use this run."


def judged(name: str, right: int, *, samples: int = 0) -> Judged:
    """A model that answers the first `right` problems rightly."""
    completions = [
        render_completion("I add.", p.answer if n < right else "0") for n, p in enumerate(PROBLEMS)
    ]
    scored = [
        score(text, p, truncated=False, correct=n < right)
        for n, (text, p) in enumerate(zip(completions, PROBLEMS, strict=True))
    ]
    right_samples = tuple(min(n, samples) for n in range(len(PROBLEMS))) if samples else ()
    return Judged(name, PROBLEMS, tuple(completions), tuple(scored), samples, right_samples)


MODELS = [
    judged("base, zero-shot", 0),
    judged("base, 4-shot", 1),
    judged("SFT", 2),
    judged("GRPO", 6, samples=4),
]


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return compose(["experiment=quick_cpu", "tracking=none"])


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(tmp_path, "grpo")
    with folder.status(), MetricsWriter(folder.metrics_path) as metrics:
        for step in (1, 2):
            metrics.log(step, {"train/loss": 1.0, "reward/format": 0.5, "reward/total": 1.5})
            metrics.log(step, {"reward/std_in_group": 0.2, "groups/all_right": 0.1})
            metrics.log(step, {"train/kl": 0.01, "eval/correct": 0.5})
    return folder


def test_the_report_of_another_stage(experiment: Experiment, folder: RunFolder) -> None:
    report(
        MODELS,
        experiment,
        folder,
        settings={"completions a step": 128},
        pictures=grpo_pictures(folder),
        verdict=VERDICT,
    )
    text = folder.report_path.read_text()

    assert f"## Results\n\n**{VERDICT}**\n\n| domain | metric |" in text
    assert "| completions a step | 128 |" in text
    assert "GRPO against SFT, correct: +50 points" in text
    assert "bootstrap" in text
    assert "pass@4" in text
    drawn = {path.stem for path in folder.path.glob("*.svg")}
    assert drawn == {"held_out_accuracy", "reward", "groups_without_a_signal", "kl"}
    picture = (folder.path / "reward.svg").read_text()
    assert picture.index('"total"') < picture.index('"format"')
    assert "std" not in picture  # it is not a part of the total


def test_the_report_without_more_draws_the_loss(experiment: Experiment, folder: RunFolder) -> None:
    report(MODELS[:1] + MODELS[-1:], experiment, folder)
    text = folder.report_path.read_text()

    assert "![Loss by step](loss.svg)" in text
    assert "## Results\n\n| domain" in text
    assert {path.name for path in folder.path.glob("*.svg")} == {"loss.svg"}


def test_the_last_words_hold_table_verdict_and_next_commands(
    experiment: Experiment, folder: RunFolder
) -> None:
    screen = StringIO()
    announce(MODELS, experiment, folder, Console(file=screen, width=160), verdict=VERDICT)

    for part in ("base, 4-shot", "GRPO", "truncated", "McNemar", VERDICT, f"ask {folder.path}"):
        assert part in screen.getvalue()


def test_all_numbers_are_recorded(folder: RunFolder) -> None:
    sent: dict[str, float] = {}

    class Remembering(NullTracker):
        def summary(self, values: Mapping[str, SupportsFloat]) -> None:
            sent.update({name: float(value) for name, value in values.items()})

    record(MODELS, folder, Remembering(), step=2)

    assert sent["GRPO/all/correct"] == 6 / 8
    assert sent["base_4_shot/all/truncated"] == 0
    assert sent["GRPO/all/reasoning_steps"] == 1
    assert sent["GRPO/all/pass_at_4"] == 7 / 8
    assert "SFT/all/pass_at_4" not in sent
    records = read_records(folder.samples_path)
    assert len(records) == len(MODELS) * len(PROBLEMS)
    assert [one["right_samples"] for one in records if one["model"] == "GRPO"][:3] == [0, 1, 2]


def test_the_last_model_is_compared_with_each_other_one() -> None:
    lines = verdicts(MODELS)
    assert len(lines) == 6
    assert all(line.startswith("GRPO against ") for line in lines)
    assert verdicts(MODELS[-1:]) == []
