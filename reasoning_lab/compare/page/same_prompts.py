"""The same held-out problems answered by all runs, cut so that the page stays small."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from reasoning_lab.compare.comparison import Answer, ComparedRun, Comparison
from reasoning_lab.compare.page.page_labels import short_label, short_names
from reasoning_lab.formats import TAGS

_MOST_PROBLEMS = 24
_MOST_CHARS = 2_000  # of a question or completion
_MOST_CHARS_IN_ALL = 4_000_000

_Writer = tuple[str, Sequence[Answer]]


def same_prompts(comparison: Comparison) -> dict[str, Any] | None:
    """Problems that most trained models answered, with all answers, for JSON; None without any.

    writers: who answered, models before training first, then runs, best setting first.
    chosen: who is shown at first: one before training and the best run, or the best and the last.
    answers of a problem: by writer, None where that one has no answer.
    """
    common = _common([run for setting in comparison.settings for run in setting.runs])
    before, trained = _writers(comparison, common)
    writers = [*before, *trained]
    by_writer = [{answer.example_id: answer for answer in answers} for _, answers in writers]
    problems: list[dict[str, Any]] = []
    chars = 0
    for example_id in common:
        answers = [answers.get(example_id) for answers in by_writer]
        given = [answer for answer in answers if answer is not None]
        chars += sum(min(len(answer.completion), _MOST_CHARS) for answer in given)
        if problems and chars > _MOST_CHARS_IN_ALL:
            break
        problems.append(
            {
                "domain": given[0].domain,
                "question": _cut(given[0].question),
                "answer": _cut(given[0].answer),
                "answers": [_answer(answer) if answer is not None else None for answer in answers],
            }
        )
    if not problems:
        return None
    return {
        "tags": list(TAGS),
        "writers": [name for name, _ in writers],
        "chosen": sorted({0, len(before) or len(trained) - 1}),
        "problems": problems,
    }


def _common(runs: Sequence[ComparedRun]) -> list[str]:
    """Ids of the problems that the largest number of trained models answered, in their order."""
    counts = Counter(answer.example_id for run in runs for answer in run.trained)
    most = max(counts.values(), default=0)
    return [example_id for example_id, count in counts.items() if count == most][:_MOST_PROBLEMS]


def _writers(
    comparison: Comparison, common: Collection[str]
) -> tuple[list[_Writer], list[_Writer]]:
    """Models before training, as of the best run, and trained models that answered any of these."""
    names = short_names(comparison.axes)
    before: list[_Writer] = []
    trained: list[_Writer] = []
    for setting in comparison.settings:
        for run in setting.runs:
            if any(answer.example_id in common for answer in run.trained):
                if not before:
                    before.extend(list(run.answers.items())[:-1])
                seed = f" · seed {run.seed}" if len(setting.runs) > 1 else ""
                trained.append((short_label(setting, names) + seed, run.trained))
    return before, trained


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "text": _cut(answer.completion),
        "correct": answer.correct,
        "well_formed": answer.well_formed,
        "truncated": answer.truncated,
        "reward": None if answer.reward is None else round(answer.reward, 3),
    }


def _cut(text: str) -> str:
    if len(text) <= _MOST_CHARS:
        return text
    return f"{text[:_MOST_CHARS]}… [{len(text) - _MOST_CHARS:,} characters left out]"
