"""report.md: one page that tells what a run was, how well it did and how to go on with it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reasoning_lab.runs.curves import curve_picture
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import Point, read_series
from reasoning_lab.runs.status import Status, read_status


@dataclass(frozen=True)
class Sample:
    """A held-out problem and what the tuned model made of it.

    correct: None where nothing decides. reward: what it earned, where it was rewarded.
    """

    question: str
    completion: str
    answer: str
    correct: bool | None
    reward: float | None = None

    @property
    def outcome(self) -> str:
        """The judgement in a line."""
        if self.correct is None:
            judged = "no answer is the only right one"
        elif self.correct:
            judged = "right"
        else:
            judged = f"wrong: the answer is {self.answer}"
        return judged if self.reward is None else f"{judged}; reward {self.reward:.2f}"


@dataclass(frozen=True)
class Picture:
    """Metrics over steps to be drawn together.

    title: its heading, which also gives the file's name: "KL" is kl.svg.
    label: what the values are, with their unit.
    curves: {name in the legend: name in metrics.jsonl}; those never recorded are left out.
    bands: {name in the legend: names in metrics.jsonl of the lower and the upper end}.
    text: a line on how to read it.
    """

    title: str
    label: str
    curves: Mapping[str, str]
    bands: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    text: str = ""


def write_report(
    run: RunFolder,
    *,
    command: str,
    settings: Mapping[str, Any],
    evaluation: str,
    data: str,
    samples: Sequence[Sample],
    next_steps: Mapping[str, str],
    pictures: Sequence[Picture],
) -> None:
    """Write report.md and the pictures beside it, once the run has ended.

    Args:
        run: the run; its status and metrics are read from its folder.
        command: the line that started the run.
        settings: the few facts worth a table, such as model, data, learning rate.
        evaluation: the tables of results in Markdown; empty if nothing was evaluated.
        data: what became of the rows that were read, in Markdown; empty to leave it out.
        samples: completions to show.
        next_steps: shell commands by what they do, such as {"Ask it": "python -m …"}.
        pictures: what to draw; a picture without any recorded metric is left out.

    Raises:
        DiskFullError: no space; a report written earlier is untouched.
    """
    sections = [
        f"# {run.id}",
        _outcome(read_status(run.status_path)),
        _code(command, "sh"),
        _table(settings),
        "## Results\n\n" + evaluation.strip() if evaluation else "",
        *(_drawn(picture, run) for picture in pictures),
        "\n\n".join(["## Samples", *map(_sample, samples)]) if samples else "",
        "## Data\n\n" + data if data else "",
        "\n\n".join(
            ["## Go on", *(f"{what}:\n\n{_code(how, 'sh')}" for what, how in next_steps.items())]
        ),
    ]
    write_atomically(run.report_path, "\n\n".join(filter(None, sections)) + "\n")


def _drawn(picture: Picture, run: RunFolder) -> str:
    """Write the picture's file and return its section; empty if nothing of it was recorded."""

    def series(metric: str) -> list[Point]:
        return read_series(run.metrics_path, metric)

    svg = curve_picture(
        {name: series(metric) for name, metric in picture.curves.items()},
        label=picture.label,
        bands={name: (series(low), series(high)) for name, (low, high) in picture.bands.items()},
    )
    if svg is None:
        return ""
    path = run.picture_path(picture.title)
    write_atomically(path, svg)
    image = f"![{picture.title} by step]({path.name})"
    return "\n\n".join(filter(None, [f"## {picture.title}", picture.text, image]))


def _outcome(status: Status) -> str:
    minutes, seconds = divmod(math.floor(status.seconds), 60)
    of = f" of {status.max_steps}" if status.max_steps else ""
    line = f"{status.started[:16].replace('T', ' ')} UTC, {minutes} min {seconds} s"
    outcome = f"{line}, {status.step}{of} steps, {status.state}."
    return f"{outcome}\n\n{_code(status.error)}" if status.error else outcome


def _table(rows: Mapping[str, Any]) -> str:
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(["| setting | value |", "|---|---|", *lines]) if rows else ""


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _sample(sample: Sample) -> str:
    return f"{_code(sample.question)}\n\n{_code(sample.completion)}\n\n*{_cell(sample.outcome)}*"


def _code(text: str, language: str = "") -> str:
    """A fenced block whose fence is longer than any run of backticks in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.strip()}\n{fence}"
