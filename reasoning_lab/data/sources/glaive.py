"""Glaive's reasoning-v1-20m: 22 million answers of DeepSeek-R1-Distill-70B with their reasoning."""

from collections.abc import Iterator

from reasoning_lab.config import spec
from reasoning_lab.data.conversion import cell, from_think
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.row_files import Row
from reasoning_lab.data.row_source import DataPath, Licence, Place, RowSource, ShuffleBuffer
from reasoning_lab.data.specs import Domain


@spec
class Glaive(RowSource):
    """Columns prompt and response, the latter as '<think>reasoning</think>answer'.

    A run reads the first rows of `split` that it needs; split=train[180000:280000] reads others.
    """

    domain: Domain = "general"
    path: DataPath = "hf:glaiveai/reasoning-v1-20m"
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
