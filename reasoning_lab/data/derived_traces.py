"""Plain traces written from a row's own texts, where a data set has no reasoning.

They are honest about what they are: quotations and outlines of what is known to be right, found
with the answer at hand. They teach the form of an answer more than thought.
"""

import re
from collections import Counter
from collections.abc import Sequence

from reasoning_lab.data.lettered_options import lettered

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE = re.compile(r"(?<=[.!?])[\"'”’)]*\s+|\n\s*\n")
_NAME = re.compile(r"[A-Z][a-z]+(?:['’-][A-Z][a-z]+)*")
_FIRST_WORD = re.compile(r"^\W*\w+")
_COMMON = frozenset(
    _WORD.findall(
        "a an and are as at be by can do for from has have how in into is it its may not of on "
        "or our so some such than that the their them then there these they this those to us "
        "was we were what when where which while who with via using used use show shows new "
        "both more most many each also but if no he she his her him you your i my me"
    )
)
_NO_NAMES = frozenset(
    _WORD.findall(
        "I The A An And But He She It They We You His Her Their My Your This That These Those "
        "There Then When What Why Who How If So No Yes Not Oh Well Okay God Mr Mrs Ms Dr Sir "
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday English Earth Just Even Now"
    )
)
_QUOTED = 260


def summary_trace(sentences: Sequence[str], summary: str) -> str | None:
    """The sentences of a text that share most words with its summary, at most three, in order.

    Each must bring at least two words of the summary, or one if nothing does, that those before it
    do not have. None if the text has no word in common with the summary.
    """
    wanted = _content(summary)
    chosen: list[int] = []
    covered: set[str] = set()
    while len(chosen) < 3:
        gains = [len((_content(one) & wanted) - covered) for one in sentences]
        best = max(range(len(sentences)), key=lambda place: gains[place], default=0)
        if not gains or gains[best] < (2 if chosen else 1):
            break
        chosen.append(best)
        covered |= _content(sentences[best]) & wanted
    if not chosen:
        return None
    points = [f"- {_short(sentences[place], _QUOTED)}" for place in sorted(chosen)]
    kept = [word for word in dict.fromkeys(_words(summary)) if _singular(word) in covered]
    return "\n".join(["Key points of the text:", *points, f"What to keep: {', '.join(kept[:8])}."])


def story_trace(story: str) -> str | None:
    """An outline from a story itself: recurring names, then how it begins, goes on and ends.

    None for a text without three sentences.
    """
    sentences = [one.strip() for one in _SENTENCE.split(story) if len(_WORD.findall(one)) > 2]
    if len(sentences) < 3:
        return None
    names = _names(sentences)
    lines = [f"Characters and places: {', '.join(names)}."] if names else []
    lines += [
        f"Beginning: {_short(sentences[0], 120)}",
        f"Middle: {_short(sentences[len(sentences) // 2], 120)}",
        f"Ending: {_short(sentences[-1], 120)}",
    ]
    return "\n".join(lines)


def choice_trace(question: str, options: Sequence[str], right: int) -> str:
    """The options again, and which one fits. It holds no reason: the row gives none."""
    named = [option.rstrip(".") for option in lettered(options)]
    listed = "; ".join(named)
    return f"The question: {question}\nThe options: {listed}.\nThe one that fits is {named[right]}."


def _words(text: str) -> list[str]:
    """The words that say something, in small letters."""
    words = (word.casefold() for word in _WORD.findall(text))
    return [word for word in words if word not in _COMMON and len(word) > 1]


def _content(text: str) -> set[str]:
    return {_singular(word) for word in _words(text)}


def _singular(word: str) -> str:
    stem = word.removesuffix("'s").removesuffix("’s")
    return stem[:-1] if len(stem) > 3 and stem.endswith("s") and not stem.endswith("ss") else stem


def _names(sentences: Sequence[str]) -> list[str]:
    """Capitalised words that occur twice or more, not only at the beginning of a sentence."""
    seen = Counter(name for one in sentences for name in _NAME.findall(one))
    inside = {name for one in sentences for name in _NAME.findall(_FIRST_WORD.sub("", one))}
    small = {word for one in sentences for word in re.findall(r"\b[a-z]+\b", one)}
    names = [
        name
        for name, times in seen.most_common()
        if times > 1 and name in inside and name not in _NO_NAMES and name.lower() not in small
    ]
    return names[:4]


def _short(text: str, length: int) -> str:
    """The text, cut at a word if it is longer."""
    plain = " ".join(text.split())
    if len(plain) <= length:
        return plain
    return plain[:length].rsplit(" ", 1)[0].rstrip(",;:-–—") + " …"
