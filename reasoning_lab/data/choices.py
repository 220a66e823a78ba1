"""The kinds of source that a config can name."""

from reasoning_lab.data.sources.gsm_symbolic import GsmSymbolic
from reasoning_lab.data.sources.letter_count import LetterCount
from reasoning_lab.data.sources.number_story import NumberStory
from reasoning_lab.data.sources.product import Product
from reasoning_lab.data.sources.reasoning_gym import ReasoningGym
from reasoning_lab.data.sources.running_sum import RunningSum
from reasoning_lab.data.sources.table import Table
from reasoning_lab.data.specs import Source

SOURCES: dict[str, type[Source]] = {
    "gsm_symbolic": GsmSymbolic,
    "letter_count": LetterCount,
    "number_story": NumberStory,
    "product": Product,
    "reasoning_gym": ReasoningGym,
    "running_sum": RunningSum,
    "table": Table,
}
