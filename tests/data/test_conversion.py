import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from reasoning_lab.data import conversion
from reasoning_lab.data.conversion import Solution, Unusable
from reasoning_lab.data.lettered_options import lettered, options_in, right_place
from reasoning_lab.formats import TAGS

WHOLE = Solution("why", "so")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<think>why</think>so", WHOLE),
        ("\n<think>\nwhy\n</think>\n\nso\n", WHOLE),
        ("why</think>so", WHOLE),
        ("so", Unusable("no tags")),
        ("", Unusable("no tags")),
        (None, Unusable("no tags")),
        (math.nan, Unusable("no tags")),
        ("<think></think>so", Unusable("empty reasoning")),
        ("<think> \n </think>so", Unusable("empty reasoning")),
        ("</think>so", Unusable("empty reasoning")),
        ("<think>why</think>", Unusable("no answer")),
        ("<think>why</think> \n", Unusable("no answer")),
        ("<think></think>", Unusable("no answer")),
        ("<think>why and why and", Unusable("unfinished reasoning")),
        ("<think>a<think>b</think>so", Unusable("broken tags")),
        ("<think>a</think>so<think>b</think>so", Unusable("broken tags")),
        ("<think>a</think></think>so", Unusable("broken tags")),
        ("</think>why<think>so", Unusable("broken tags")),
        ("Sure. <think>why</think>so", Unusable("broken tags")),
        ("<think>why</think><answer>so</answer>", Unusable("broken tags")),
    ],
)
def test_think(text: Any, found: Solution | Unusable) -> None:
    assert conversion.from_think(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<Thought>why</Thought><Output>so</Output>", WHOLE),
        ("<Thought>\nwhy\n</Thought>\n<Output>\nso\n</Output>\n", WHOLE),
        ("so", Unusable("no tags")),
        ("<Thought>why and", Unusable("unfinished reasoning")),
        ("<Thought>why</Thought>so", Unusable("broken tags")),
        ("<Thought>why</Thought><Output>so", Unusable("broken tags")),
        ("<Output>so</Output><Thought>why</Thought>", Unusable("broken tags")),
        ("<Thought>why</Thought>, then <Output>so</Output>", Unusable("broken tags")),
        ("<Thought>a</Thought><Thought>b</Thought><Output>so</Output>", Unusable("broken tags")),
        ("<Thought></Thought><Output>so</Output>", Unusable("empty reasoning")),
        ("<Thought>why</Thought><Output></Output>", Unusable("no answer")),
    ],
)
def test_thought_and_output(text: str, found: Solution | Unusable) -> None:
    assert conversion.from_thought_output(text) == found
    ours = text
    for theirs, tag in zip(("<Thought>", "</Thought>", "<Output>", "</Output>"), TAGS, strict=True):
        ours = ours.replace(theirs, tag)
    assert conversion.from_tags(ours) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("why\n#### so", WHOLE),
        ("#### 1 is no answer yet\n#### so", Solution("#### 1 is no answer yet", "so")),
        ("why so", Unusable("no answer")),
        ("why ####", Unusable("no answer")),
        ("#### so", Unusable("empty reasoning")),
    ],
)
def test_a_separator(text: str, found: Solution | Unusable) -> None:
    assert conversion.from_separator(text, "####") == found


def test_columns() -> None:
    assert conversion.from_columns(" why ", "so\n") == WHOLE
    assert conversion.from_columns(None, 3) == Unusable("no reasoning")
    assert conversion.from_columns("why", math.nan) == Unusable("no answer")
    assert conversion.from_columns("<reasoning>why", "so") == Unusable("broken tags")
    assert conversion.solution(None, "so") == Solution(None, "so")


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("48/2 = <<48/2=24>>24 clips", "48/2 = 24 clips"),
        ("$<<12/60=0.2>>0.2 and <<1+1=2>>2", "$0.2 and 2"),
        ("1 << 3 is 8", "1 << 3 is 8"),
        ("<<<<1=1>>1", "<<1"),
        ("<<1=1", "<<1=1"),
    ],
)
def test_calculator_marks(marked: str, plain: str) -> None:
    assert conversion.strip_calculator_marks(marked) == plain


CONVERSIONS: list[Callable[[Any], Solution | Unusable]] = [
    conversion.from_think,
    conversion.from_thought_output,
    conversion.from_tags,
    lambda text: conversion.from_separator(text, "####"),
    lambda text: conversion.from_columns(text, text),
]
PIECES = [
    *("<think>", "</think>", "<Thought>", "</Thought>", "<Output>", "</Output>", *TAGS),
    *("####", "<<", ">>", "<", ">", " ", "\n", "\r", "\0", "\ud800", "why", "so", "é", "(", "\\"),
]


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_no_text_is_too_hostile(convert: Callable[[Any], Solution | Unusable]) -> None:
    random = Random(0)
    for _ in range(3000):
        text = "".join(random.choices(PIECES, k=random.randrange(9)))
        match convert(text):
            case Solution(reasoning, answer):
                assert reasoning
                assert reasoning == reasoning.strip()
                assert answer
                assert answer == answer.strip()
                assert not any(tag in reasoning + answer for tag in TAGS)
            case Unusable(reason):
                assert reason
    for odd in (None, math.nan, 0, True, [], {"a": 1}, b"x"):
        convert(odd)


def test_lists_are_found_in_every_shape() -> None:
    for value in (["x", None, " y "], ("x", "y"), '["x", "y"]'):
        assert conversion.texts(value) == ["x", "y"]
    assert conversion.texts("[x") == ["[x"]
    assert conversion.texts(None) == conversion.texts([]) == conversion.texts("") == []


def test_options_are_found_in_every_shape() -> None:
    both = ["x", "y"]
    for value in (both, '["x", "y"]', [{"text": "x"}, {"text": "y"}], {"text": both}):
        assert options_in(value) == (both, ["", ""])
    assert options_in({"text": both, "label": [1, 2]}) == (both, ["1", "2"])
    for value in (None, "x, y", 3, {"text": "xy"}, {}, ["x"] * 27):
        assert options_in(value) == ([], [])
    assert lettered(both) == ["A: x", "B: y"]


@pytest.mark.parametrize(
    ("gold", "options", "labels", "place"),
    [
        ("B", "xyz", ["A", "B", "C"], 1),
        ("2", "xyz", ["1", "2", "3"], 1),
        (2, "xyz", [""] * 3, 2),
        (2.0, "xyz", [""] * 3, 2),
        (1, "123", [""] * 3, 1),  # the place, not the text
        ("y", "xyz", [""] * 3, 1),
        ("c", "xyz", [""] * 3, 2),
        ("2", "xyz", [""] * 3, 2),
        ("", "xyz", [""] * 3, None),
        (None, "xyz", [""] * 3, None),
        (3, "xyz", [""] * 3, None),
        (-1, "xyz", [""] * 3, None),
        (math.nan, "xyz", [""] * 3, None),
        ("w", "xyz", [""] * 3, None),
        ("²", "xyz", [""] * 3, None),
    ],
)
def test_the_right_option_is_told_in_many_ways(
    gold: Any, options: str, labels: list[str], place: int | None
) -> None:
    assert right_place(gold, list(options), labels) == place
