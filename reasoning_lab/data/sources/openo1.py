"""OpenO1-SFT: 77,000 prompts, mostly of mathematics and code, with long thoughts."""

from collections.abc import Iterator

from reasoning_lab.config import spec
from reasoning_lab.data.conversion import cell, from_thought_output
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.row_files import Row
from reasoning_lab.data.row_source import DataPath, Licence, Place, RowSource, ShuffleBuffer
from reasoning_lab.data.specs import Domain


@spec
class OpenO1(RowSource):
    """Columns instruction and output, the latter as '<Thought>…</Thought><Output>…</Output>'."""

    domain: Domain = "general"
    path: DataPath = "hf:O1-OPEN/OpenO1-SFT"
    shuffle_buffer: ShuffleBuffer = 1000
    licence: Licence = "Apache-2.0"

    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        instruction, output = self.cells(row, place, name, "instruction", "output")
        yield self.example(
            place,
            name,
            question=cell(instruction),
            solution=from_thought_output(output),
            row=row,
            kind="open",
        )
