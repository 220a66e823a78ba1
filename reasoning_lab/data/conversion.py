"""From the text columns of a data set to reasoning and answer, or to the reason why there is none.

Nothing here raises, whatever the text.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reasoning_lab.formats import REASONING_END, REASONING_START, SOLUTION_END, SOLUTION_START, TAGS

BROKEN_TAGS = "broken tags"
NO_TAGS = "no tags"
UNFINISHED = "unfinished reasoning"
EMPTY_REASONING = "empty reasoning"
NO_REASONING = "no reasoning"
NO_QUESTION = "no question"
NO_ANSWER = "no answer"

_CALCULATOR = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True)
class Solution:
    """An answer and its reasoning, None if there is none; stripped, not empty, and without tags."""

    reasoning: str | None
    answer: str


@dataclass(frozen=True)
class Unusable:
    """Why a row has no solution: one of the few reasons above."""

    reason: str


def cell(value: Any) -> str:
    """The text of a cell, stripped; '' for None and for NaN, as pandas writes a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()


def texts(value: Any) -> list[str]:
    """The texts of a list, or of one written as JSON; one text is a list of one, '' of none."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return [cell(value)]
    listed = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [text for text in map(cell, listed) if text]


def solution(reasoning: str | None, answer: Any) -> Solution | Unusable:
    """An answer, with the reasoning that leads to it if there is any."""
    trace, text = cell(reasoning), cell(answer)
    if any(tag in part for tag in TAGS for part in (trace, text)):
        return Unusable(BROKEN_TAGS)
    return Solution(trace or None, text) if text else Unusable(NO_ANSWER)


def from_columns(reasoning: Any, answer: Any) -> Solution | Unusable:
    """Reasoning and answer that stand in a column each, and both must be there."""
    return _with_reasoning(cell(reasoning), answer, NO_REASONING)


def from_separator(text: Any, separator: str) -> Solution | Unusable:
    """`reasoning SEPARATOR answer`, as GSM8K's `… #### 72`; the last separator counts."""
    reasoning, found, answer = cell(text).rpartition(separator)
    return _with_reasoning(reasoning, answer) if found else Unusable(NO_ANSWER)


def from_think(text: Any) -> Solution | Unusable:
    """`<think>…</think>` and then the answer, as DeepSeek-R1 and its pupils write.

    The opening tag may be missing: chat templates put it into the prompt.
    """
    whole = cell(text)
    opened, closed = whole.count("<think>"), whole.count("</think>")
    if opened == closed == 0:
        return Unusable(NO_TAGS)
    if opened == 1 and closed == 0:
        return Unusable(UNFINISHED)
    before, _, answer = whole.partition("</think>")
    outside, found, inside = before.rpartition("<think>")
    if opened > 1 or closed != 1 or (found != "") != (opened == 1) or outside.strip():
        return Unusable(BROKEN_TAGS)
    return _with_reasoning(inside, answer)


def from_thought_output(text: Any) -> Solution | Unusable:
    """`<Thought>…</Thought><Output>…</Output>`, as OpenO1 writes."""
    return _from_pairs(cell(text), ("<Thought>", "</Thought>", "<Output>", "</Output>"))


def from_tags(text: Any) -> Solution | Unusable:
    """`<reasoning>…</reasoning><answer>…</answer>`: the tags that are taught here."""
    return _from_pairs(cell(text), (REASONING_START, REASONING_END, SOLUTION_START, SOLUTION_END))


def strip_calculator_marks(text: str) -> str:
    """GSM8K's `48/2 = <<48/2=24>>24` as `48/2 = 24`."""
    return _CALCULATOR.sub("", text)


def _from_pairs(text: str, tags: Sequence[str]) -> Solution | Unusable:
    if not any(tag in text for tag in tags):
        return Unusable(NO_TAGS)
    if text.count(tags[0]) == 1 and not any(tag in text for tag in tags[1:]):
        return Unusable(UNFINISHED)
    if any(text.count(tag) != 1 for tag in tags):
        return Unusable(BROKEN_TAGS)
    parts = re.split("|".join(map(re.escape, tags)), text)
    in_order = [text.find(tag) for tag in tags] == sorted(text.find(tag) for tag in tags)
    before, reasoning, between, answer, after = parts
    if not in_order or before.strip() or between.strip() or after.strip():
        return Unusable(BROKEN_TAGS)
    return _with_reasoning(reasoning, answer)


def _with_reasoning(
    reasoning: str, answer: Any, missing: str = EMPTY_REASONING
) -> Solution | Unusable:
    found = solution(reasoning, answer)
    empty = isinstance(found, Solution) and found.reasoning is None
    return Unusable(missing) if empty else found
