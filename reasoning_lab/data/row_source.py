"""What all sources that read rows share: where the rows are, which of them, and in what order."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, ClassVar

from pydantic import Field

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.data.conversion import NO_QUESTION, Solution, Unusable, cell
from reasoning_lab.data.example import AnswerKind, Dropped, Example
from reasoning_lab.data.hub_rows import HubSplit
from reasoning_lab.data.row_files import Row, RowFile, local_files
from reasoning_lab.data.rows import (
    HUB,
    Slice,
    files_of_split,
    hub_rows,
    local_folder,
    local_rows,
    parse_split,
    shuffled,
)
from reasoning_lab.data.specs import Source

DataPath = Annotated[
    str,
    Field(
        min_length=1,
        description="file or folder of .jsonl, .json, .csv or .parquet, hf:owner/name or "
        "kaggle:owner/dataset",
    ),
]
TakenRows = Annotated[
    int | None,
    Field(ge=1, description="training examples taken from this source; null: all"),
]
Subset = Annotated[str | None, Field(description="configuration of a hub data set")]
Split = Annotated[
    str, Field(min_length=1, description="split to train on, whole or as train[1000:2000]")
]
HeldOutSplit = Annotated[
    str | None,
    Field(min_length=1, description="split to hold problems out from; null: the same"),
]
ShuffleBuffer = Annotated[
    int, Field(ge=1, description="rows held in memory to shuffle them; 1: in the order of the file")
]
Licence = Annotated[str, Field(min_length=1, description="licence of the rows, for the manifest")]
DeriveReasoning = Annotated[
    bool, Field(description="write a plain trace from the row where it has no reasoning of its own")
]

_SHOWN = 300


@dataclass(frozen=True)
class Place:
    """A row: how examples name it and how messages do."""

    id: str
    told: str


@spec
class RowSource(Source):
    """Problems made of rows.

    The splits of a local folder are told by how its files' names begin, if there is a
    `held_out_split`; else all of its files are read. Row numbers, in ids and messages, count from 1
    in the whole split, so a row has one id in every slice and source.
    """

    endless: ClassVar[bool] = False

    path: DataPath
    subset: Subset = None
    split: Split = "train"
    held_out_split: HeldOutSplit = None
    revision: str | None = Field(
        default=None, min_length=1, description="branch, tag or commit of a hub data set"
    )
    shuffle_buffer: ShuffleBuffer = 10_000
    licence: Licence = "unknown"

    @abstractmethod
    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        """What a row gives; at least one thing, be it `Dropped`.

        Raises:
            ConfigError: the row has not the columns that this kind of source reads.
        """

    def examples(self, *, name: str, seed: int) -> Iterator[Example | Dropped]:
        return self._shuffled(name, seed, "split", self.split)

    def held_out_examples(self, *, name: str, seed: int) -> Iterator[Example | Dropped] | None:
        if self.held_out_split is None:
            return None
        return self._shuffled(name, seed, "held_out_split", self.held_out_split)

    def files_of(self, files: list[RowFile], split: str, key: str) -> list[RowFile]:
        """Those of the local files that hold a split.

        Raises:
            ConfigError: none does.
        """
        if self.held_out_split is None:
            return files
        found = files_of_split(files, split)
        if not found:
            other = parse_split(self.held_out_split, f"{key}.held_out_split").split
            raise ConfigError(
                f"{key}.path={self.path} has no file whose name begins with {split}. Give a folder "
                f"with {parse_split(self.split, f'{key}.split').split}*.jsonl and {other}*.jsonl "
                f"in it (or another kind), or set {key}.held_out_split=null.",
                keys=[f"{key}.path"],
            )
        return found

    def belongs(self, row: Row, split: str) -> bool:
        """Whether a row of a local file is of this split; the files' names may say it already."""
        return True

    def example(
        self,
        place: Place,
        name: str,
        *,
        question: str,
        solution: Solution | Unusable,
        row: Row,
        kind: AnswerKind = "exact",
        options: Sequence[str] = (),
        tests: Sequence[str] = (),
        setup: str = "",
        document: str | None = None,
    ) -> Example | Dropped:
        """The problem of a row, or the reason why it has none."""
        if not question:
            solution = Unusable(NO_QUESTION)
        if isinstance(solution, Unusable):
            return self.dropped(place, row, solution.reason)
        return Example(
            id=place.id,
            source=name,
            domain=self.domain,
            question=question,
            reasoning=solution.reasoning,
            answer=solution.answer,
            licence=self.licence,
            kind=kind,
            options=tuple(options),
            tests=tuple(tests),
            setup=setup,
            document=document,
        )

    def dropped(self, place: Place, row: Row, reason: str) -> Dropped:
        """A row that gives no problem."""
        text = " | ".join(f"{column}: {cell(value)}" for column, value in row.items())
        return Dropped(id=place.id, reason=reason, text=text[:_SHOWN])

    def cells(self, row: Row, place: Place, name: str, *columns: str) -> list[Any]:
        """The row's values in these columns.

        Raises:
            ConfigError: it has not all of them.
        """
        missing = [column for column in columns if column not in row]
        if missing:
            raise ConfigError(
                f"{place.told} has no column {', '.join(missing)}; it has {', '.join(row)}. "
                f"data.sources.{name} reads {', '.join(columns)}; for columns of other names use "
                "data=table.",
                keys=[f"data.sources.{name}.path"],
            )
        return [row[column] for column in columns]

    def _shuffled(
        self, name: str, seed: int, field: str, split: str
    ) -> Iterator[Example | Dropped]:
        key = f"data.sources.{name}"
        part = parse_split(split, f"{key}.{field}")
        random = Random(f"{name}/{seed}")
        found = self._rows(key, part)
        for number, row in shuffled(found, buffer=self.shuffle_buffer, random=random):
            yield from self.problems(row, self._place(key, part, number), name)

    def _rows(self, key: str, part: Slice) -> Iterator[tuple[int, Row]]:
        folder = local_folder(self.path, f"{key}.path")
        if folder is None:
            repo = self.path.removeprefix(HUB)
            rows = hub_rows(HubSplit(repo, self.subset, part.split, self.revision, key), part)
        else:
            inside = [name for name in (self.subset, "data") if name]
            found = local_files(folder, f"{key}.path", inside=inside)
            files = self.files_of(found, part.split, key)
            rows = local_rows(files, f"{key}.path", part, lambda row: self.belongs(row, part.split))
        empty = True
        for numbered in rows:
            empty = False
            yield numbered
        if empty:
            behind = f" behind row {part.start} of {part.split}" if part.start else ""
            raise ConfigError(
                f"{key}.path={self.path} holds no rows{behind}.", keys=[f"{key}.path"]
            )

    def _place(self, key: str, part: Slice, number: int) -> Place:
        whole = self.held_out_split is None and not self.path.startswith(HUB)
        row = f"row {number}" if whole else f"{part.split} row {number}"
        of_subset = self.path.startswith(HUB) and self.subset
        data = f"{self.path} ({self.subset})" if of_subset else self.path
        return Place(id=f"{data}: {row}", told=f"{key}: {row} of {self.path}")
