"""WritingPrompts: stories that people wrote for a prompt on Reddit."""

import re
from collections.abc import Iterator

from reasoning_lab.config import spec
from reasoning_lab.data.conversion import cell, solution
from reasoning_lab.data.derived_traces import story_trace
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.row_files import Row
from reasoning_lab.data.row_source import (
    DataPath,
    DeriveReasoning,
    HeldOutSplit,
    Licence,
    Place,
    RowSource,
    ShuffleBuffer,
)
from reasoning_lab.data.specs import Domain

_KINDS = re.compile(r"^(?:\[\s*[A-Z]{2,3}\s*\]\s*)+", re.IGNORECASE)


@spec
class WritingPrompts(RowSource):
    """Columns prompt and story (arXiv 1805.04833); leading marks such as [WP] are taken off.

    There is no reasoning; `derive_reasoning` writes an outline from the story itself.
    """

    domain: Domain = "creative"
    path: DataPath = "hf:euclaise/writingprompts"
    held_out_split: HeldOutSplit = "test"
    shuffle_buffer: ShuffleBuffer = 1000
    licence: Licence = "MIT (texts from Reddit)"
    derive_reasoning: DeriveReasoning = True

    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        prompt, story = self.cells(row, place, name, "prompt", "story")
        asked = _KINDS.sub("", cell(prompt))
        text = cell(cell(story).replace("<newline>", "\n"))
        yield self.example(
            place,
            name,
            question=f"Write a story for this prompt: {asked}" if asked else "",
            solution=solution(story_trace(text) if self.derive_reasoning else None, text),
            row=row,
            kind="open",
        )
