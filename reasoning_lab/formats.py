"""The contract between prompt and completion: how a problem is asked and an answer is written.

Everything that teaches, samples, scores or prints goes through this file. Gemma's turn markers are
not here: the engine's tokenizer adds them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

REASONING_START = "<reasoning>"
REASONING_END = "</reasoning>"
SOLUTION_START = "<answer>"
SOLUTION_END = "</answer>"
TAGS = (REASONING_START, REASONING_END, SOLUTION_START, SOLUTION_END)

INSTRUCTION = (
    "Reason inside <reasoning></reasoning>, then give only the answer inside <answer></answer>."
)
# The instruction comes first, so that all prompts share a prefix and the question stands next to
# the completion.
PROMPT_TEMPLATE = INSTRUCTION + "\n{question}"

FEW_SHOT_STOP = "\n\nQuestion:"
"""Where a model that was only shown the format goes on to make up a question of its own."""


class WorkedExample(Protocol):
    """A question with its answer and, where there is one, the reasoning that leads to it."""

    @property
    def question(self) -> str: ...
    @property
    def reasoning(self) -> str | None: ...
    @property
    def answer(self) -> str: ...


@dataclass(frozen=True)
class Parsed:
    """What a completion holds.

    `reasoning` and `answer` are stripped, and None unless both tags of that part stand exactly
    once and in order: of two answers none counts. `problems` says in words what is wrong.
    """

    reasoning: str | None
    answer: str | None
    problems: tuple[str, ...]

    @property
    def well_formed(self) -> bool:
        return not self.problems


def render_prompt(question: str) -> str:
    """The user's turn for one question."""
    return PROMPT_TEMPLATE.format(question=question)


def render_completion(reasoning: str, answer: str) -> str:
    """The model's turn, exactly as `parse` wants it."""
    return f"{REASONING_START}{reasoning}{REASONING_END}\n{SOLUTION_START}{answer}{SOLUTION_END}"


def parse(text: str) -> Parsed:
    """Read a completion strictly, in time linear in its length.

    Well formed means: each tag exactly once and in order, only white space outside the two parts,
    and neither part empty.
    """
    reasoning = _between(text, REASONING_START, REASONING_END)
    answer = _between(text, SOLUTION_START, SOLUTION_END)
    problems = [_miscounted(text, tag) for tag in TAGS if text.count(tag) != 1]
    if not problems:
        places = [text.find(tag) for tag in TAGS]
        if places != sorted(places):
            problems.append("the tags are out of order")
        elif _outside(text, places):
            problems.append("there is text outside the tags")
        if reasoning == "":
            problems.append("the reasoning is empty")
        if answer == "":
            problems.append("the answer is empty")
    return Parsed(reasoning, answer, tuple(problems))


def few_shot_prompt(examples: Sequence[WorkedExample], question: str) -> str:
    """A prompt that shows a model without training the format by worked examples.

    Raises ValueError for an example without reasoning.
    """
    shots = []
    for example in examples:
        if not example.reasoning:
            raise ValueError(f"no reasoning to show for {example.question!r}")
        completion = render_completion(example.reasoning, example.answer)
        shots.append(f"Question: {example.question}\n{completion}")
    return "\n\n".join([INSTRUCTION, *shots, f"Question: {question}\n"])


def until_next_question(text: str) -> str:
    """A few-shot completion up to where the model goes on to make up a question of its own.

    A model that was only shown the format has no end marker to write; this is its stop string.
    """
    return text.partition(FEW_SHOT_STOP)[0]


def _between(text: str, start: str, end: str) -> str | None:
    if text.count(start) != 1 or text.count(end) != 1 or text.find(start) > text.find(end):
        return None
    return text[text.find(start) + len(start) : text.find(end)].strip()


def _miscounted(text: str, tag: str) -> str:
    count = text.count(tag)
    return f"{tag} is missing" if count == 0 else f"{tag} stands {count} times"


def _outside(text: str, places: list[int]) -> str:
    """The text before, between and after the two parts; `places` are the tags' positions."""
    start, reasoning_end, answer_start, end = places
    between = text[reasoning_end + len(REASONING_END) : answer_start]
    return (text[:start] + between + text[end + len(SOLUTION_END) :]).strip()
