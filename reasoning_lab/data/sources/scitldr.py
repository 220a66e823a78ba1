"""SciTLDR: abstracts of papers, each summed up in one sentence."""

from collections.abc import Iterator

from reasoning_lab.config import spec
from reasoning_lab.data.conversion import NO_ANSWER, solution, texts
from reasoning_lab.data.derived_traces import summary_trace
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.row_files import Row
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


@spec
class Scitldr(RowSource):
    """Columns source (sentences), target (summaries) and paper_id (arXiv 2004.15011).

    Of several summaries the first is taken. There is no reasoning; `derive_reasoning` quotes the
    sentences of the abstract that are nearest to the summary.
    """

    domain: Domain = "summarization"
    rows: TakenRows = None
    path: DataPath = "hf:allenai/scitldr"
    subset: Subset = "Abstract"
    held_out_split: HeldOutSplit = "test"
    licence: Licence = "Apache-2.0"
    derive_reasoning: DeriveReasoning = True

    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        source, target, paper = self.cells(row, place, name, "source", "target", "paper_id")
        sentences = [" ".join(sentence.split()) for sentence in texts(source)]
        summaries = texts(target)
        place = Place(id=f"SciTLDR paper {paper}", told=place.told)
        if not summaries:
            yield self.dropped(place, row, NO_ANSWER)
            return
        abstract = " ".join(sentences)
        trace = summary_trace(sentences, summaries[0]) if self.derive_reasoning else None
        yield self.example(
            place,
            name,
            question=f"Sum up this abstract in one sentence.\n{abstract}" if abstract else "",
            solution=solution(trace, summaries[0]),
            row=row,
            kind="open",
            document=abstract,
        )
