"""What an evaluated run leaves behind: records, a report, and a last word on the terminal."""

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from reasoning_lab.data.mixture import FunnelRow, in_words
from reasoning_lab.evaluation.statistics import paired_difference
from reasoning_lab.evaluation.tables import (
    format_markdown,
    format_table,
    results_markdown,
    results_table,
)
from reasoning_lab.evaluation.verdict import format_p, told
from reasoning_lab.experiment import Experiment
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.report import Picture, Sample, write_report
from reasoning_lab.stages.evaluate import Judged
from reasoning_lab.stages.pictures import SFT_PICTURES
from reasoning_lab.tracking.tracker import Tracker


def record(judged: Sequence[Judged], folder: RunFolder, tracker: Tracker, *, step: int) -> None:
    """Keep every completion in samples.jsonl; send shares and tuned samples to the tracker."""
    records = [line for one in judged for line in one.records()]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in records)
    write_atomically(folder.samples_path, text)
    values = {}
    for one in judged:
        name, summary = _slug(one.name), one.summary
        for row in summary.rows:
            values[f"{name}/{row.group}/{row.metric}"] = row.count / row.denominator
        for mean in summary.means:
            values[f"{name}/{mean.group}/{mean.metric}"] = mean.value
    tracker.summary(values)
    tracker.samples(step, judged[-1].records())


def report(
    judged: Sequence[Judged],
    experiment: Experiment,
    folder: RunFolder,
    *,
    funnel: Sequence[FunnelRow] = (),
    settings: Mapping[str, Any] | None = None,
    pictures: Sequence[Picture] = SFT_PICTURES,
    verdict: str = "",
) -> None:
    """Write report.md.

    Args:
        judged: the models compared, the one just trained last.
        funnel: what became of the rows that were read.
        settings: what only this stage has, to stand between the settings that all have.
        pictures: what to draw of the metrics.
        verdict: a sentence to stand above the table of results.
    """
    lora = experiment.lora
    tables = [results_markdown([one.summary for one in judged])]
    if _has_domains(judged[-1]):
        tables.append(format_markdown(judged[-1].summary))
    tables += verdicts(judged)
    write_report(
        folder,
        command=shlex.join(["python", *sys.argv]),
        settings={
            "model": experiment.model.architecture,
            "LoRA": f"rank {lora.rank}, alpha {lora.alpha:g}, {', '.join(lora.target_modules)}",
            "data": ", ".join(
                f"{name} ({s.rows or 'all'})" for name, s in experiment.data.sources.items()
            ),
            "learning rate": f"{experiment.stage.learning_rate:g}",
            **(settings or {}),
            "hardware": experiment.hardware.platform,
            "seed": experiment.seed,
        },
        evaluation="\n\n".join([f"**{verdict}**", *tables] if verdict else tables),
        data="\n".join(f"- {row.source}: {in_words(row)}." for row in funnel),
        samples=_samples(judged[-1], experiment.evaluation.samples),
        next_steps=_next_steps(judged[-1], folder),
        pictures=pictures,
    )


def announce(
    judged: Sequence[Judged],
    experiment: Experiment,
    folder: RunFolder,
    console: Console,
    *,
    verdict: str = "",
) -> None:
    """Show the table, some completions, the verdict and the commands to go on with."""
    for sample in _samples(judged[-1], experiment.evaluation.samples):
        text = Text(f"{sample.question}\n\n{sample.completion}")
        console.print(Panel(text, subtitle=Text(sample.outcome), title="held-out problem"))
    console.print(results_table([one.summary for one in judged]))
    if _has_domains(judged[-1]):
        console.print(format_table(judged[-1].summary))
    for line in verdicts(judged):
        console.print(line)
    if verdict:
        console.print(Text(f"\n{verdict}", style="bold"))
    for what, command in _next_steps(judged[-1], folder).items():
        console.print(f"\n{what}:\n  {command}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"\nReport: {folder.report_path}", soft_wrap=True)


def verdicts(judged: Sequence[Judged]) -> list[str]:
    """Sentences on each other model: is the last one better than it, and how sure is that?"""
    *others, tuned = judged
    lines = []
    for other in others:
        for metric in ("well_formed", "correct"):
            before, after = (told(one.scored, metric) for one in (other, tuned))
            if not after:
                continue
            change = paired_difference(before, after)
            ends = (change.low, change.high, change.bootstrap_low, change.bootstrap_high)
            low, high, bootstrap_low, bootstrap_high = (f"{100 * end:+.0f}" for end in ends)
            lines.append(
                f"{tuned.name} against {other.name}, {metric.replace('_', ' ')}: "
                f"{100 * change.difference:+.0f} points "
                f"(95% interval {low} to {high}, bootstrap {bootstrap_low} to {bootstrap_high}; "
                f"{change.gained} problems gained, {change.lost} lost; "
                f"McNemar {format_p(change.p_value)})."
            )
    return lines


def _has_domains(judged: Judged) -> bool:
    return len({one.domain for one in judged.scored}) > 1


def _slug(name: str) -> str:
    """ "base, 4-shot" -> "base_4_shot": a name without what W&B's search trips over."""
    return re.sub(r"\W+", "_", name)


def _samples(judged: Judged, count: int) -> list[Sample]:
    """Problems spread evenly over the held-out set, and so over its sources."""
    total = len(judged.problems)
    count = min(count, total)
    return [
        Sample(
            question=judged.problems[i].question,
            completion=judged.completions[i],
            answer=judged.problems[i].answer,
            correct=judged.scored[i].correct,
            reward=judged.scored[i].reward,
        )
        for i in (number * total // count for number in range(count))
    ]


def _next_steps(judged: Judged, folder: RunFolder) -> dict[str, str]:
    run, question = shlex.quote(str(folder.path)), shlex.quote(judged.problems[0].question)
    return {
        "Ask the tuned model": f"python -m reasoning_lab ask {run} {question}",
        "Evaluate it on other data": f"python -m reasoning_lab evaluate {run} data=four_skills",
    }
