"""Which training examples are left out, and why: each reason is a line of the funnel."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reasoning_lab.data.example import Example
from reasoning_lab.data.specs import FiltersSpec
from reasoning_lab.formats import TAGS

# What conversion should have taken out of the text (data/conversion.py).
_STRAY = re.compile("|".join([*TAGS, r"</?think(?:ing)?>", r"</?Thought>", r"</?Output>"]))
_RUN = 8  # words of a run that is looked for again
_ENOUGH_WORDS = 50  # below it a text is too short to be called a loop
_ENOUGH_LETTERS = 100  # below it a language cannot be told
_MOST_LETTERS = 2000  # beyond it, it can


@dataclass(frozen=True)
class Length:
    """How long an example may be: `tokens` counts it, `most` is what the config allows at `key`."""

    tokens: Callable[[Example], int]
    most: int
    key: str


def why_not(
    example: Example, spec: FiltersSpec, *, needs_reasoning: bool, length: Length | None
) -> str | None:
    """Why an example must not be trained on, in words that other examples share; None if it may.

    Args:
        needs_reasoning: the reasoning is to be taught, not only the question to be asked.
    """
    text = example.whole
    if _STRAY.search(text):
        return "broken tags"
    if needs_reasoning and not (example.reasoning or "").strip():
        return "no reasoning"
    if repetition(text) > spec.most_repetition:
        return "endless loop"
    if spec.language is not None and language(text) not in (None, spec.language):
        return f"not in {spec.language}"
    if length is not None and length.tokens(example) > length.most:
        return f"longer than {length.key}={length.most}"
    return None


def repetition(text: str) -> float:
    """Share of the runs of 8 words that repeat an earlier one, 0 to 1; 0 below 50 words."""
    words = text.split()
    if len(words) < _ENOUGH_WORDS:
        return 0.0
    runs = [tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1)]
    return 1 - len(set(runs)) / len(runs)


def language(text: str) -> str | None:
    """The language's code as ISO 639-1 has it; None if the text has too few letters to tell.

    Told by py3langid from the beginning of the text, without digits, signs and code.
    """
    from py3langid import classify

    letters = " ".join(re.findall(r"[^\W\d_]{2,}", text[: 2 * _MOST_LETTERS]))[:_MOST_LETTERS]
    if len(letters) < _ENOUGH_LETTERS:
        return None
    code: str = classify(letters)[0]
    return code


class NearDuplicates:
    """Questions seen so far, to find those that say nearly the same.

    Two are near if the sets of their runs of 3 words are alike (Jaccard, estimated by MinHash,
    Broder 1997) and the same numbers stand in them in the same order: "Tom has 3 apples" and "Tom
    has 4 apples" are two problems.
    """

    def __init__(self, likeness: float) -> None:
        from datasketch import MinHashLSH

        self._likeness = likeness
        self._index = MinHashLSH(threshold=likeness, num_perm=128)
        self._count = 0

    def add(self, example: Example) -> None:
        self._index.insert(self._count, _signature(example))
        self._count += 1

    def __contains__(self, example: Example) -> bool:
        return bool(self._index.query(_signature(example)))


def _signature(example: Example) -> Any:
    from datasketch import MinHash

    words = example.wording.split()
    numbers = " ".join(re.findall(r"\d+", example.wording))
    signature = MinHash(num_perm=128)
    runs = {" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}
    signature.update_batch([f"{numbers}|{run}".encode() for run in sorted(runs)])
    return signature
