"""CoT-Collection: 1.8 million rationales for the tasks of FLAN, written by Codex."""

from collections.abc import Iterator

from reasoning_lab.config import spec
from reasoning_lab.data.conversion import cell, from_columns
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.row_files import Row
from reasoning_lab.data.row_source import DataPath, Licence, Place, RowSource, ShuffleBuffer
from reasoning_lab.data.specs import Domain


@spec
class CotCollection(RowSource):
    """Columns source, rationale and target (arXiv 2305.14045).

    The repository's own reader is a program, which `datasets` no longer runs: its one JSON file is
    read instead.
    """

    domain: Domain = "general"
    path: DataPath = "hf:pharaouk/CoT-Collection/data/CoT_collection_en.json"
    shuffle_buffer: ShuffleBuffer = 1000
    licence: Licence = "CC-BY-4.0"

    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        source, rationale, target = self.cells(row, place, name, "source", "rationale", "target")
        solution = from_columns(rationale, target)
        yield self.example(place, name, question=cell(source), solution=solution, row=row)
