"""One problem, as every source gives it and everything after it sees it."""

import re
from dataclasses import dataclass
from typing import Literal

AnswerKind = Literal["exact", "choice", "code", "open"]


@dataclass(frozen=True)
class Example:
    """A question with its answer and, if known, the reasoning that leads to it.

    id: names the problem, not its wording: two examples with one id are the same problem, and never
        stand on both sides of the train / held-out split.
    source: the name under `data.sources`.
    domain: the kind of problem that results are reported by, and rewards chosen by.
    kind: what decides whether an answer is right. "exact": it says the same as `answer`. "choice":
        it names the same one of `options`. "code": it passes `tests`. "open": nothing does.
    options: for "choice", the texts to choose from, the first being A; `answer` is a letter and
        its text, as "B: the Moon".
    tests: for "code", Python assertions on what a program defines, as in MBPP.
    setup: for "code", Python that has to run before the tests.
    document: the text to be summarised, where that is the task.
    """

    id: str
    source: str
    domain: str
    question: str
    reasoning: str | None
    answer: str
    licence: str
    kind: AnswerKind = "exact"
    options: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    setup: str = ""
    document: str | None = None

    @property
    def whole(self) -> str:
        """Question, reasoning and answer."""
        return f"{self.question}\n{self.reasoning or ''}\n{self.answer}"

    @property
    def wording(self) -> str:
        """The question's words, numbers and signs without case and spacing."""
        return " ".join(re.findall(r"\w+|[^\w\s]", self.question.casefold()))


@dataclass(frozen=True)
class Dropped:
    """A row that gives no problem.

    id: names the row, as an example's id would.
    reason: a few words that other rows share, as "broken tags"; they head a line of the funnel.
    text: the beginning of the row, to look at.
    """

    id: str
    reason: str
    text: str
