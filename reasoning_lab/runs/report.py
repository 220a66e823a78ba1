"""report.md: one page that tells what a run was, how well it did and how to go on with it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning_lab.runs.files import write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.loss_curve import loss_curve
from reasoning_lab.runs.metrics import read_series
from reasoning_lab.runs.status import Status, read_status


@dataclass(frozen=True)
class Sample:
    """A held-out problem and what the tuned model made of it."""

    question: str
    completion: str
    answer: str
    correct: bool


def write_report(
    run: RunFolder,
    *,
    command: str,
    settings: Mapping[str, Any],
    evaluation: str,
    samples: Sequence[Sample],
    next_steps: Mapping[str, str],
    curves: Mapping[str, str],
) -> None:
    """Write report.md and, if a loss was recorded, loss.svg beside it, once the run has ended.

    Args:
        run: the run; its status and metrics are read from its folder.
        command: the line that started the run.
        settings: the few facts worth a table, such as model, data, learning rate.
        evaluation: the tables of results in Markdown; empty if nothing was evaluated.
        samples: completions to show.
        next_steps: shell commands by what they do, such as {"Ask it": "python -m …"}.
        curves: metrics to draw, as {name in the legend: name in metrics.jsonl}.

    Raises:
        DiskFullError: no space; a report written earlier is untouched.
    """
    picture = loss_curve(
        {name: read_series(run.metrics_path, metric) for name, metric in curves.items()},
        label="Loss (nats per token)",
    )
    if picture is not None:
        write_atomically(run.loss_curve_path, picture)
    sections = [
        f"# {run.id}",
        _outcome(read_status(run.status_path)),
        _code(command, "sh"),
        _table(settings),
        "## Results\n\n" + evaluation.strip() if evaluation else "",
        f"## Loss\n\n![Loss by step]({run.loss_curve_path.name})" if picture else "",
        "\n\n".join(["## Samples", *map(_sample, samples)]) if samples else "",
        "\n\n".join(
            ["## Go on", *(f"{what}:\n\n{_code(how, 'sh')}" for what, how in next_steps.items())]
        ),
    ]
    write_atomically(run.report_path, "\n\n".join(filter(None, sections)) + "\n")


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
    verdict = "correct" if sample.correct else f"wrong, the answer is {sample.answer}"
    return f"{_code(sample.question)}\n\n{_code(sample.completion)}\n\n*{verdict}*"


def _code(text: str, language: str = "") -> str:
    """A fenced block whose fence is longer than any run of backticks in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.strip()}\n{fence}"
