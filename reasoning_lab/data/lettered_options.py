"""Options of a multiple-choice question: how they are lettered, and which one a row means."""

import json
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from reasoning_lab.data.conversion import cell


def lettered(options: Sequence[str]) -> list[str]:
    """["A: the Sun", "B: the Moon"]."""
    return [f"{ascii_uppercase[place]}: {option}" for place, option in enumerate(options)]


def options_in(value: Any) -> tuple[list[str], list[str]]:
    """The texts in a cell and the labels that the row gives them, '' where it gives none.

    A cell is a list of texts, such a list as JSON, {"text": [...], "label": [...]} as in ARC, or
    [{"text": …, "label": …}, …]. Anything else, and more than 26, holds no options.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return [], []
    if isinstance(value, Mapping):
        texts, labels = value.get("text"), value.get("label")
    elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        texts = [one.get("text") for one in value if isinstance(one, Mapping)]
        labels = [one.get("label") for one in value if isinstance(one, Mapping)]
    else:
        texts, labels = value, None
    if not isinstance(texts, Sequence) or isinstance(texts, str) or len(texts) > 26:
        return [], []
    given = (
        labels if isinstance(labels, Sequence) and len(labels) == len(texts) else [""] * len(texts)
    )
    return [cell(text) for text in texts], [cell(label) for label in given]


def right_place(gold: Any, options: Sequence[str], labels: Sequence[str]) -> int | None:
    """The place of the right option; None if `gold` names none.

    Tried in this order: the label that the row gives it, a whole number from 0, its text, a letter
    from A, and the digits of a number from 0, as a CSV has them.
    """
    said = cell(gold)
    if said and said in labels:
        return labels.index(said)
    if isinstance(gold, int | float):
        place = int(gold) if said and gold == int(gold) else -1
    elif said in options:
        place = options.index(said)
    elif len(said) == 1 and said.upper() in ascii_uppercase:
        place = ascii_uppercase.index(said.upper())
    else:
        place = int(said) if said.isascii() and said.isdecimal() else -1
    return place if 0 <= place < len(options) else None
