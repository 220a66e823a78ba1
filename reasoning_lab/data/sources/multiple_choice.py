"""Multiple-choice questions as ARC, SciQ, OpenBookQA, MMLU and llm-foundry write them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.data.conversion import cell, solution
from reasoning_lab.data.derived_traces import choice_trace
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.lettered_options import lettered, options_in, right_place
from reasoning_lab.data.row_files import Row
from reasoning_lab.data.row_source import (
    DataPath,
    DeriveReasoning,
    HeldOutSplit,
    Licence,
    Place,
    RowSource,
    TakenRows,
)
from reasoning_lab.data.specs import Domain


@dataclass(frozen=True)
class _Asked:
    """A row in one shape; `right` is the place of the right option, None if the row names none."""

    question: str
    options: list[str]
    right: int | None
    support: str = ""


@spec
class MultipleChoice(RowSource):
    """Questions with lettered options. Which data set it is, is told by the columns:

    - SciQ: question, correct_answer, distractor1, distractor2, distractor3; `support` is the
      reasoning, and the options are shuffled, each row always in the same way
    - OpenBookQA: question_stem, choices, answerKey; `fact1` is the reasoning, if it is there
    - ARC: question, choices, answerKey
    - MMLU: question, choices, answer
    - llm-foundry: query, choices, gold

    Rows without reasoning can be asked, but not taught, unless `derive_reasoning` writes some.
    """

    domain: Domain = "science"
    rows: TakenRows = None
    path: DataPath = "hf:allenai/sciq"
    held_out_split: HeldOutSplit = "test"
    licence: Licence = "CC-BY-NC-3.0"
    derive_reasoning: DeriveReasoning = False

    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        read = next((read for columns, read in _KNOWN if columns <= row.keys()), None)
        if read is None:
            known = "; ".join(", ".join(sorted(columns)) for columns, _ in _KNOWN)
            raise ConfigError(
                f"{place.told} has the columns {', '.join(row)}. Those that are known are {known}. "
                "For others use data=table with its field options.",
                keys=[f"data.sources.{name}.path"],
            )
        asked = read(row)
        if len(asked.options) < 2 or not all(asked.options):
            yield self.dropped(place, row, "no options")
        elif asked.right is None:
            yield self.dropped(place, row, "answer not among the options")
        else:
            yield self._example(asked, asked.right, row, place, name)

    def _example(
        self, asked: _Asked, right: int, row: Row, place: Place, name: str
    ) -> Example | Dropped:
        options = lettered(asked.options)
        trace = asked.support or None
        if trace is None and self.derive_reasoning:
            trace = choice_trace(asked.question, asked.options, right)
        return self.example(
            place,
            name,
            question="\n".join([asked.question, *options]) if asked.question else "",
            solution=solution(trace, options[right]),
            row=row,
            kind="choice",
            options=asked.options,
        )


def _sciq(row: Row) -> _Asked:
    question, right = cell(row["question"]), cell(row["correct_answer"])
    options = [right, *(cell(row[f"distractor{number}"]) for number in (1, 2, 3))]
    Random(question).shuffle(options)
    return _Asked(question, options, options.index(right), cell(row.get("support")))


def _with_choices(question: str, gold: str) -> Callable[[Row], _Asked]:
    def read(row: Row) -> _Asked:
        options, labels = options_in(row["choices"])
        right = right_place(row[gold], options, labels)
        asked = cell(row[question]).removeprefix("Question: ")
        return _Asked(asked, options, right, _sentence(row.get("fact1")))

    return read


def _sentence(fact: Any) -> str:
    text = cell(fact)
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


_KNOWN: list[tuple[set[str], Callable[[Row], _Asked]]] = [
    ({"question", "correct_answer", "distractor1", "distractor2", "distractor3"}, _sciq),
    ({"question_stem", "choices", "answerKey"}, _with_choices("question_stem", "answerKey")),
    ({"question", "choices", "answerKey"}, _with_choices("question", "answerKey")),
    ({"question", "choices", "answer"}, _with_choices("question", "answer")),
    ({"query", "choices", "gold"}, _with_choices("query", "gold")),
]
