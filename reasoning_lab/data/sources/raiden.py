"""Raiden: 63,000 creative and analytical prompts with answers of DeepSeek-R1, unfiltered."""

from collections.abc import Iterator

from reasoning_lab.config import spec
from reasoning_lab.data.conversion import cell, from_think
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.row_files import Row
from reasoning_lab.data.row_source import DataPath, Licence, Place, RowSource, ShuffleBuffer
from reasoning_lab.data.specs import Domain


@spec
class Raiden(RowSource):
    """Columns prompt and response, the latter as '<think>reasoning</think>answer'.

    Nothing was filtered by its authors: some reasoning goes round in circles or breaks off.
    """

    domain: Domain = "general"
    path: DataPath = "hf:sequelbox/Raiden-DeepSeek-R1"
    shuffle_buffer: ShuffleBuffer = 1000
    licence: Licence = "Apache-2.0"

    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        prompt, response = self.cells(row, place, name, "prompt", "response")
        yield self.example(
            place,
            name,
            question=cell(prompt),
            solution=from_think(response),
            row=row,
            kind="open",
        )
