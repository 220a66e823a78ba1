"""GSM8K: primary school word problems with worked solutions."""

from collections.abc import Iterator

from reasoning_lab.config import spec
from reasoning_lab.data.conversion import cell, from_separator, strip_calculator_marks
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.row_files import Row
from reasoning_lab.data.row_source import (
    DataPath,
    HeldOutSplit,
    Licence,
    Place,
    RowSource,
    Subset,
    TakenRows,
)
from reasoning_lab.data.specs import Domain


@spec
class Gsm8k(RowSource):
    """Columns question and answer, the latter as 'reasoning #### 72' (arXiv 2110.14168).

    The marks that were meant for a calculator, as in "48/2 = <<48/2=24>>24", are taken out.
    """

    domain: Domain = "math"
    rows: TakenRows = None
    path: DataPath = "hf:openai/gsm8k"
    subset: Subset = "main"
    held_out_split: HeldOutSplit = "test"
    licence: Licence = "MIT"

    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        question, answer = self.cells(row, place, name, "question", "answer")
        solution = from_separator(strip_calculator_marks(cell(answer)), "####")
        yield self.example(place, name, question=cell(question), solution=solution, row=row)
