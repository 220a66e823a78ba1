"""Problems in a table: a local file or folder, or a data set on the Hugging Face hub."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from pydantic import Field

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.data.example import Example
from reasoning_lab.data.specs import Domain, Source
from reasoning_lab.formats import TAGS

_HUB = "hf:"
Row = Mapping[str, Any]


@spec
class Table(Source):
    """One problem a row. Rows without reasoning can be asked, but not taught.

    With a `held_out_split`, the splits of a local folder are told by how its files' names begin.

    Files are read here rather than by `datasets`, which guesses types: an answer of 1.50 in a CSV
    stays 1.50, and a line that is not JSON is named.
    """

    endless: ClassVar[bool] = False

    domain: Domain = "table"
    rows: int | None = Field(
        default=None, ge=1, description="training examples taken from the table; null: all"
    )
    path: str = Field(
        min_length=1,
        description="file or folder of .jsonl, .json, .csv or .parquet, or hf:owner/name",
    )
    subset: str | None = Field(default=None, description="configuration of a hub data set")
    split: str = Field(default="train", min_length=1, description="split of a hub data set")
    held_out_split: str | None = Field(
        default=None, min_length=1, description="split to hold problems out from; null: the same"
    )
    question: str = Field(default="question", description="column with the question")
    reasoning: str | None = Field(default="reasoning", description="column with the worked trace")
    answer: str = Field(default="answer", description="column with the final answer")
    separator: str | None = Field(
        default=None,
        min_length=1,
        description="where the answer column is 'reasoning SEPARATOR answer', as #### in GSM8K",
    )
    licence: str = Field(default="unknown", description="licence of the rows, for the manifest")

    def examples(self, *, name: str, seed: int) -> Iterator[Example]:
        return self._shuffled(name, seed, self.split, "row")

    def held_out_examples(self, *, name: str, seed: int) -> Iterator[Example] | None:
        """The rows of `held_out_split`.

        Raises:
            ConfigError: questions that are among the training rows too.
        """
        if self.held_out_split is None:
            return None
        held_out = list(
            self._shuffled(name, seed, self.held_out_split, f"{self.held_out_split} row")
        )
        trained = {example.wording for example in self.examples(name=name, seed=seed)}
        shared = [example for example in held_out if example.wording in trained]
        if shared:
            key = f"data.sources.{name}.held_out_split"
            raise ConfigError(
                f"{key}={self.held_out_split} shares {len(shared)} of its {len(held_out)} "
                f"questions with the split {self.split} of {self.path}, the first being "
                f"{shared[0].question!r}. Take them out of one of the two, or set {key}=null: "
                "problems are then held out from the training rows, and never trained on.",
                keys=[key],
            )
        return iter(held_out)

    def _shuffled(self, name: str, seed: int, split: str, row_name: str) -> Iterator[Example]:
        rows = self._read(f"data.sources.{name}.path", split)
        order = list(range(len(rows)))
        Random(f"{name}/{seed}").shuffle(order)
        for number in order:
            yield self._example(rows[number], f"{row_name} {number + 1}", name)

    def _example(self, row: Row, row_name: str, name: str) -> Example:
        place = f"data.sources.{name}: {row_name} of {self.path}"
        reasoning = self.reasoning if self.separator is None else None
        wanted = [column for column in (self.question, reasoning, self.answer) if column]
        missing = [column for column in wanted if column not in row]
        if missing:
            raise ConfigError(
                f"{place} has no column {', '.join(missing)}; it has {', '.join(row)}. "
                f"Say which they are: data.sources.{name}.question=…, .reasoning=… (null if there "
                "is none), .answer=…",
                keys=[f"data.sources.{name}"],
            )
        question, answer = _cell(row[self.question]), _cell(row[self.answer])
        trace = _cell(row[reasoning]) if reasoning else ""
        if self.separator is not None:
            trace, _, answer = (part.strip() for part in answer.rpartition(self.separator))
        if not question or not answer:
            raise ConfigError(
                f"{place} has an empty {'answer' if question else 'question'}.",
                keys=[f"data.sources.{name}.path"],
            )
        tags = [tag for tag in TAGS if tag in trace + answer]
        if tags:
            raise ConfigError(
                f"{place} already holds {', '.join(tags)}. The tags are added here: give reasoning "
                "and answer without them.",
                keys=[f"data.sources.{name}.path"],
            )
        return Example(
            id=f"{name}: {row_name}",
            source=name,
            domain=self.domain,
            question=question,
            reasoning=trace or None,
            answer=answer,
            licence=self.licence,
        )

    def _read(self, key: str, split: str) -> list[Row]:
        if self.path.startswith(_HUB):
            rows = self._download(key, split)
        else:
            files = _files(Path(self.path), key)
            if self.held_out_split is not None:
                files = self._of_split(files, key, split)
            rows = [row for file in files for row in _rows_of(file, key)]
        if not rows:
            raise ConfigError(f"{key}={self.path} holds no rows.", keys=[key])
        return rows

    def _of_split(self, files: list[Path], key: str, split: str) -> list[Path]:
        found = [file for file in files if file.name.startswith(split)]
        if not found:
            raise ConfigError(
                f"{key}={self.path} has no file whose name begins with {split}. Give a folder with "
                f"{self.split}*.jsonl and {self.held_out_split}*.jsonl in it (or another kind), or "
                f"set {key.removesuffix('path')}held_out_split=null.",
                keys=[key],
            )
        return found

    def _download(self, key: str, split: str) -> list[Row]:
        from datasets import load_dataset

        try:
            return list(load_dataset(self.path.removeprefix(_HUB), self.subset, split=split))
        except (OSError, ValueError) as error:  # missing, gated, no network, no such split
            raise ConfigError(
                f"{key}={self.path} cannot be loaded from the hub: {error}\n"
                "For a data set that asks for consent, accept it on its page and log in "
                "(`hf auth login`); without a network, download it and give the local path.",
                keys=[key],
            ) from error


def _cell(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _files(path: Path, key: str) -> list[Path]:
    if not path.exists():
        raise ConfigError(f"{key}={path} does not exist (looked in {Path.cwd()}).", keys=[key])
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in found if file.suffix in _READERS]
    if not files:
        raise ConfigError(
            f"{key}={path} holds no table; the kinds that can be read are {', '.join(_READERS)}.",
            keys=[key],
        )
    return files


def _rows_of(file: Path, key: str) -> list[Row]:
    try:
        rows = list(_READERS[file.suffix](file))
    except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8, JSON or Parquet
        raise ConfigError(f"{key}: {file} cannot be read: {error}", keys=[key]) from error
    if not all(isinstance(row, Mapping) for row in rows):
        raise ConfigError(f"{key}: {file} must hold one object per problem.", keys=[key])
    return rows


def _read_jsonl(file: Path) -> Iterable[Row]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"line {number} is not JSON ({error})") from error


def _read_json(file: Path) -> Iterable[Row]:
    rows = json.loads(file.read_text(encoding="utf-8"))
    return rows if isinstance(rows, list) else [rows]


def _read_csv(file: Path) -> Iterable[Row]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        yield from csv.DictReader(lines, restkey="cells without a column", strict=True)


def _read_parquet(file: Path) -> Iterable[Row]:
    from pyarrow import parquet  # type: ignore[import-untyped]

    rows: list[Row] = parquet.read_table(file).to_pylist()
    return rows


_READERS = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
