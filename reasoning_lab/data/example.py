"""One problem, as every source gives it and everything after it sees it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A question with its answer and, if known, the reasoning that leads to it.

    `id` names the problem, not its wording: two examples with one id are the same problem, and
    never stand on both sides of the train / held-out split. `source` is the name under
    `data.sources`; `domain` is the kind of problem that results are reported by.
    """

    id: str
    source: str
    domain: str
    question: str
    reasoning: str | None
    answer: str
    licence: str

    @property
    def wording(self) -> str:
        """The question's words, numbers and signs without case and spacing."""
        return " ".join(re.findall(r"\w+|[^\w\s]", self.question.casefold()))
