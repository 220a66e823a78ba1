"""What an evaluated run leaves behind: records, a report, and a last word on the terminal."""

import json
import re
import shlex
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from reasoning_lab.evaluation.statistics import paired_difference
from reasoning_lab.evaluation.tables import results_markdown, results_table
from reasoning_lab.experiment import Experiment
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.report import Sample, write_report
from reasoning_lab.stages.evaluate import Judged
from reasoning_lab.tracking.tracker import Tracker


def record(judged: Sequence[Judged], folder: RunFolder, tracker: Tracker, *, step: int) -> None:
    """Keep every completion in samples.jsonl; send shares and tuned samples to the tracker."""
    records = [line for one in judged for line in one.records()]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in records)
    write_atomically(folder.samples_path, text)
    tracker.summary(
        {
            f"{_slug(one.name)}/{row.group}/{row.metric}": row.count / row.denominator
            for one in judged
            for row in one.summary.rows
        }
    )
    tracker.samples(step, judged[-1].records())


def report(judged: Sequence[Judged], experiment: Experiment, folder: RunFolder) -> None:
    """Write report.md."""
    stage, lora = experiment.stage, experiment.lora
    write_report(
        folder,
        command=shlex.join(["python", *sys.argv]),
        settings={
            "model": experiment.model.architecture,
            "LoRA": f"rank {lora.rank}, alpha {lora.alpha:g}, {', '.join(lora.target_modules)}",
            "data": ", ".join(
                f"{name} ({s.rows or 'all'})" for name, s in experiment.data.sources.items()
            ),
            "learning rate": f"{stage.learning_rate:g}",
            "tokens a step": stage.batch_tokens,
            "hardware": experiment.hardware.platform,
            "seed": experiment.seed,
        },
        evaluation="\n\n".join(
            [results_markdown([one.summary for one in judged]), *map(str, verdicts(judged))]
        ),
        samples=_samples(judged[-1], experiment.evaluation.samples),
        next_steps=_next_steps(judged[-1], folder),
        curves={"training": "train/loss", "held-out": "eval/loss"},
    )


def announce(
    judged: Sequence[Judged], experiment: Experiment, folder: RunFolder, console: Console
) -> None:
    """Show the table, some completions and the commands to go on with."""
    for sample in _samples(judged[-1], experiment.evaluation.samples):
        verdict = "right" if sample.correct else f"wrong: the answer is {sample.answer}"
        text = Text(f"{sample.question}\n\n{sample.completion}")
        console.print(Panel(text, subtitle=verdict, title="held-out problem"))
    console.print(results_table([one.summary for one in judged]))
    for line in verdicts(judged):
        console.print(line)
    for what, command in _next_steps(judged[-1], folder).items():
        console.print(f"\n{what}:\n  {command}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"\nReport: {folder.report_path}", soft_wrap=True)


def verdicts(judged: Sequence[Judged]) -> list[str]:
    """One sentence for each untuned model: is the tuned one better, and how sure is that?"""
    *others, tuned = judged
    lines = []
    for other in others:
        for metric in ("well_formed", "correct"):
            before, after = (
                [getattr(scored, metric) for scored in one.scored] for one in (other, tuned)
            )
            change = paired_difference(before, after)
            lines.append(
                f"{tuned.name} against {other.name}, {metric.replace('_', ' ')}: "
                f"{100 * change.difference:+.0f} points "
                f"(95% interval {100 * change.low:+.0f} to {100 * change.high:+.0f}; "
                f"{change.gained} problems gained, {change.lost} lost; "
                f"McNemar p = {change.p_value:.2g})."
            )
    return lines


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
        )
        for i in (number * total // count for number in range(count))
    ]


def _next_steps(judged: Judged, folder: RunFolder) -> dict[str, str]:
    run, question = shlex.quote(str(folder.path)), shlex.quote(judged.problems[0].question)
    return {
        "Ask the tuned model": f"python -m reasoning_lab ask {run} {question}",
        "Evaluate it on other data": f"python -m reasoning_lab evaluate {run} data=four_skills",
    }
