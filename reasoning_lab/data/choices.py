"""The kinds of source that a config can name."""

from reasoning_lab.data.sources.cot_collection import CotCollection
from reasoning_lab.data.sources.engaging_story import EngagingStory
from reasoning_lab.data.sources.glaive import Glaive
from reasoning_lab.data.sources.gsm8k import Gsm8k
from reasoning_lab.data.sources.gsm_symbolic import GsmSymbolic
from reasoning_lab.data.sources.letter_count import LetterCount
from reasoning_lab.data.sources.mbpp import Mbpp
from reasoning_lab.data.sources.multiple_choice import MultipleChoice
from reasoning_lab.data.sources.number_story import NumberStory
from reasoning_lab.data.sources.openo1 import OpenO1
from reasoning_lab.data.sources.product import Product
from reasoning_lab.data.sources.raiden import Raiden
from reasoning_lab.data.sources.reasoning_gym import ReasoningGym
from reasoning_lab.data.sources.running_sum import RunningSum
from reasoning_lab.data.sources.scitldr import Scitldr
from reasoning_lab.data.sources.table import Table
from reasoning_lab.data.sources.writing_prompts import WritingPrompts
from reasoning_lab.data.specs import Source

SOURCES: dict[str, type[Source]] = {
    "cot_collection": CotCollection,
    "engaging_story": EngagingStory,
    "glaive": Glaive,
    "gsm8k": Gsm8k,
    "gsm_symbolic": GsmSymbolic,
    "letter_count": LetterCount,
    "mbpp": Mbpp,
    "multiple_choice": MultipleChoice,
    "number_story": NumberStory,
    "openo1": OpenO1,
    "product": Product,
    "raiden": Raiden,
    "reasoning_gym": ReasoningGym,
    "running_sum": RunningSum,
    "scitldr": Scitldr,
    "table": Table,
    "writing_prompts": WritingPrompts,
}
