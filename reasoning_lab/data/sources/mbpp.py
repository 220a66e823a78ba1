"""MBPP: short Python functions, each with a description and assertions that it must pass."""

from collections.abc import Iterator

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.data.conversion import cell, solution, texts
from reasoning_lab.data.derived_traces_code import code_trace
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.row_files import Row, RowFile
from reasoning_lab.data.row_source import (
    DataPath,
    DeriveReasoning,
    HeldOutSplit,
    Licence,
    Place,
    RowSource,
    Subset,
    TakenRows,
)
from reasoning_lab.data.specs import Domain

_TASKS = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "validation": range(511, 601),
    "train": range(601, 975),
}


@spec
class Mbpp(RowSource):
    """Columns text, code, task_id, test_list, test_setup_code, challenge_test_list.

    The question shows the first assertion, which says how the function is called, and hides the
    others: a program with built-in answers does not pass. MBPP has no reasoning; `derive_reasoning`
    writes a walk through the reference program. In local files, a split is told by its task ids
    (train: 601 to 974, test: 11 to 510) if there is a `held_out_split`.
    """

    domain: Domain = "code"
    rows: TakenRows = None
    path: DataPath = "hf:google-research-datasets/mbpp"
    subset: Subset = "full"
    held_out_split: HeldOutSplit = "test"
    licence: Licence = "CC-BY-4.0"
    derive_reasoning: DeriveReasoning = True

    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        columns = ("text", "code", "task_id", "test_list", "test_setup_code", "challenge_test_list")
        cells = self.cells(row, place, name, *columns)
        text, code, setup = (_unix(cells[number]) for number in (0, 1, 4))
        tests = [_unix(test) for test in (*texts(cells[3]), *texts(cells[5]))]
        place = Place(id=f"MBPP task {cells[2]}", told=place.told)
        if not tests:
            yield self.dropped(place, row, "no tests")
            return
        yield self.example(
            place,
            name,
            question=f"{text}\nFor example, this must hold:\n{tests[0]}" if text else "",
            solution=solution(code_trace(code) if self.derive_reasoning else None, code),
            row=row,
            kind="code",
            tests=tests,
            setup=setup,
        )

    def files_of(self, files: list[RowFile], split: str, key: str) -> list[RowFile]:
        if self.held_out_split is not None and split not in _TASKS:
            raise ConfigError(
                f"{key}: MBPP has no split {split}; it has {', '.join(_TASKS)}.", keys=[key]
            )
        return files

    def belongs(self, row: Row, split: str) -> bool:
        task = cell(row.get("task_id"))
        return self.held_out_split is None or (task.isdecimal() and int(task) in _TASKS[split])


def _unix(text: object) -> str:
    return cell(text).replace("\r", "")
