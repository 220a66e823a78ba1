"""Problems in a table of your own, or with columns of other names than the known data sets have."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from pydantic import Field

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.data import conversion
from reasoning_lab.data.conversion import Solution, Unusable, cell
from reasoning_lab.data.example import AnswerKind, Dropped, Example
from reasoning_lab.data.lettered_options import lettered, options_in, right_place
from reasoning_lab.data.row_files import Row
from reasoning_lab.data.row_source import DataPath, Place, RowSource, TakenRows
from reasoning_lab.data.rows import HUB
from reasoning_lab.data.specs import Domain
from reasoning_lab.formats import TAGS

_FORMATS: dict[str, Callable[[Any], Solution | Unusable]] = {
    "think": conversion.from_think,
    "thought_output": conversion.from_thought_output,
    "tags": conversion.from_tags,
}


@spec
class Table(RowSource):
    """One problem a row. Rows without reasoning can be asked, but not taught.

    A row is judged by its `tests` if there is a column of them, by `options` if there is one, and
    else as `kind` says.
    """

    domain: Domain = "table"
    rows: TakenRows = None
    path: DataPath
    question: str = Field(default="question", description="column with the question")
    reasoning: str | None = Field(default="reasoning", description="column with the worked trace")
    answer: str = Field(default="answer", description="column with the final answer")
    separator: str | None = Field(
        default=None,
        min_length=1,
        description="where the answer column is 'reasoning SEPARATOR answer', as #### in GSM8K",
    )
    format: Literal["columns", "think", "thought_output", "tags"] = Field(
        default="columns",
        description="how the answer column holds the reasoning too: <think>, <Thought> and "
        "<Output>, or the tags taught here; columns: it does not",
    )
    options: str | None = Field(default=None, description="column with a list of options")
    tests: str | None = Field(default=None, description="column with a list of Python assertions")
    document: str | None = Field(default=None, description="column with a text to be summarised")
    kind: Literal["exact", "open"] = Field(
        default="exact", description="whether one short answer is right, or nothing decides"
    )
    on_bad_row: Literal["stop", "drop"] = Field(
        default="stop", description="what becomes of a run when a row gives no problem"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.separator is not None and self.format != "columns":
            raise ValueError(f"format={self.format} and separator exclude each other: set one")
        if self.options is not None and self.tests is not None:
            raise ValueError("options and tests exclude each other: set one to null")

    def held_out_examples(self, *, name: str, seed: int) -> Iterator[Example | Dropped] | None:
        """The rows of `held_out_split`.

        Raises:
            ConfigError: in files of your own, questions that are among the training rows too.
        """
        found = super().held_out_examples(name=name, seed=seed)
        # A split on the hub may be too long to be read for this; what overlaps is not trained on.
        if found is None or self.path.startswith(HUB):
            return found
        held_out = list(found)
        trained = {
            example.wording
            for example in self.examples(name=name, seed=seed)
            if isinstance(example, Example)
        }
        asked = [example for example in held_out if isinstance(example, Example)]
        shared = [example for example in asked if example.wording in trained]
        if shared:
            key = f"data.sources.{name}.held_out_split"
            raise ConfigError(
                f"{key}={self.held_out_split} shares {len(shared)} of its {len(asked)} "
                f"questions with the split {self.split} of {self.path}, the first being "
                f"{shared[0].question!r}. Take them out of one of the two, or set {key}=null: "
                "problems are then held out from the training rows, and never trained on.",
                keys=[key],
            )
        return iter(held_out)

    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        self._check_columns(row, place, name)
        question = cell(row[self.question])
        solution = self._solution(row)
        options: list[str] = []
        if self.options is not None and isinstance(solution, Solution):
            options, labels = options_in(row[self.options])
            right = right_place(solution.answer, options, labels)
            if right is None:
                solution = Unusable("answer not among the options")
            else:
                question = "\n".join([question, *lettered(options)])
                solution = Solution(solution.reasoning, lettered(options)[right])
        tests = conversion.texts(row[self.tests]) if self.tests is not None else []
        if self.tests is not None and not tests:
            solution = Unusable("no tests")
        problem = self.example(
            place,
            name,
            question=question,
            solution=solution,
            row=row,
            kind=self._kind,
            options=options,
            tests=tests,
            document=cell(row[self.document]) if self.document else None,
        )
        if isinstance(problem, Dropped) and self.on_bad_row == "stop":
            raise self._bad(problem, place, name)
        yield problem

    @property
    def _kind(self) -> AnswerKind:
        if self.tests is not None:
            return "code"
        return self.kind if self.options is None else "choice"

    def _check_columns(self, row: Row, place: Place, name: str) -> None:
        single = self.separator is not None or self.format != "columns"
        reasoning = None if single else self.reasoning
        named = (self.question, reasoning, self.answer, self.options, self.tests, self.document)
        missing = [column for column in named if column and column not in row]
        if missing:
            raise ConfigError(
                f"{place.told} has no column {', '.join(missing)}; it has {', '.join(row)}. "
                f"Say which they are: data.sources.{name}.question=…, .reasoning=… (null if there "
                "is none), .answer=…",
                keys=[f"data.sources.{name}"],
            )

    def _solution(self, row: Row) -> Solution | Unusable:
        if self.format != "columns":
            return _FORMATS[self.format](row[self.answer])
        if self.separator is None:
            reasoning = cell(row[self.reasoning]) if self.reasoning else None
            return conversion.solution(reasoning, row[self.answer])
        reasoning, _, answer = cell(row[self.answer]).rpartition(self.separator)
        return conversion.solution(reasoning, answer)

    def _bad(self, problem: Dropped, place: Place, name: str) -> ConfigError:
        drop = f"Mend the row, or leave such rows out with data.sources.{name}.on_bad_row=drop."
        keys = [f"data.sources.{name}.path"]
        if problem.reason in (conversion.NO_QUESTION, conversion.NO_ANSWER):
            what = problem.reason.removeprefix("no ")
            return ConfigError(f"{place.told} has an empty {what}. {drop}", keys=keys)
        if problem.reason == conversion.BROKEN_TAGS and self.format == "columns":
            return ConfigError(
                f"{place.told} already holds {', '.join(TAGS[::2])} or their ends. The tags are "
                f"added here: give reasoning and answer without them, or set "
                f"data.sources.{name}.format=tags if all rows are like that.",
                keys=keys,
            )
        return ConfigError(f"{place.told} gives no problem: {problem.reason}. {drop}", keys=keys)
