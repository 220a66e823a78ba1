"""English prose measured by counting: words, sentences, and whether a text reads like writing.

Nothing here understands a text. All of it is linear in the length of the text and never raises.
"""

import re
import zlib
from itertools import pairwise

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"'”’)])\s+")
_BULLET = " \t-*•#>\"'“‘(_0123456789.)"

# A word of these stands before a thing, so in a real sentence hardly ever before a word of grammar
# or at the end. In shuffled words it does about every second time.
_ARTICLES = frozenset(_WORD.findall("a an the my your our their its every"))

_GRAMMAR = _ARTICLES | frozenset(
    _WORD.findall(
        """
    i you he she it we they me him her us them his hers mine yours this that these those there here
    who whom whose which what when where why how if then than so because since although though while
    and or but nor not no yes as at by for from in into of off on onto out over to up with without
    about after again against before behind below between during through under until upon across
    along around near is am are was were be been being do does did done has have had having will
    would shall should can could may might must just only also too very more most some any all both
    each few other such own same now ever never always still yet once let's it's i'm don't didn't
    that's
    """
    )
)
# These may well follow an article: "the other one", "a very old man", "the same".
_AFTER_ARTICLES = frozenset(
    _WORD.findall("few other such own same very most more only once all no yes here now always")
)
_ENDINGS = ("ing", "ed", "es", "s", "ly", "e")


def words(text: str) -> list[str]:
    """The words and numbers, without case."""
    return _WORD.findall(text.casefold())


def sentences(text: str) -> list[str]:
    """The sentences, without white space at their ends; a line break ends one too."""
    parts = (part for line in text.splitlines() for part in _SENTENCE_END.split(line))
    return [part.strip() for part in parts if _WORD.search(part)]


def content_words(text: str) -> set[str]:
    """The distinct words that are about something, without the commonest endings."""
    return {_stem(word) for word in words(text) if len(word) > 2 and word not in _GRAMMAR}


def ramp(value: float, zero: float, one: float) -> float:
    """0 up to `zero`, 1 from `one` on, a straight line between; `one` may be the smaller."""
    return min(1.0, max(0.0, (value - zero) / (one - zero)))


def reads_like_prose(text: str) -> float:
    """The least of four measures, each 0 to 1: what any text in English sentences has.

    grammar: the share of words such as "the", "she" and "because" is 0.12 to 0.65; 0 below 0.04
    (lists of key words, gibberish) and above 0.85.
    order: hardly any "the" or "a" stands before such a word or at the end of a sentence; 0 if a
    third of them do (shuffled words).
    sentences: 0.8 of the words stand in sentences of 3 to 50 words that begin with a capital
    letter; 0 if less than 0.3 of them do.
    fresh: see `fresh`.
    """
    if not (found := sentences(text)):
        return 0.0
    spoken = [words(sentence) for sentence in found]
    total = sum(map(len, spoken))
    grammar = sum(word in _GRAMMAR for sentence in spoken for word in sentence) / total
    whole = sum(
        len(inside)
        for sentence, inside in zip(found, spoken, strict=True)
        if 3 <= len(inside) <= 50 and not sentence.lstrip(_BULLET)[:1].islower()
    )
    return min(
        ramp(grammar, 0.04, 0.12),
        ramp(grammar, 0.85, 0.65),
        ramp(_misplaced_articles(spoken), 0.33, 0.12),
        ramp(whole / total, 0.3, 0.8),
        fresh(text),
    )


def fresh(text: str) -> float:
    """1 for a text that does not repeat itself, 0 for one that mostly does.

    The lesser of two: the share of distinct runs of three words, 1 from 0.85 and 0 up to 0.5; and
    what zlib leaves of the text, 1 from 0.4 and 0 up to 0.2 (of short texts it leaves nearly all).
    """
    spoken = words(text)
    runs = list(zip(spoken, spoken[1:], spoken[2:], strict=False))
    distinct = len(set(runs)) / len(runs) if runs else 1.0
    data = text.encode("utf-8", "replace")
    left = len(zlib.compress(data)) / len(data) if data else 1.0
    return min(ramp(distinct, 0.5, 0.85), ramp(left, 0.2, 0.4))


def _misplaced_articles(spoken: list[list[str]]) -> float:
    """The share of articles that stand where none can."""
    pairs = [pair for sentence in spoken for pair in pairwise([*sentence, ""])]
    articles = [after for word, after in pairs if word in _ARTICLES]
    wrong = sum(
        not after or (after in _GRAMMAR and after not in _AFTER_ARTICLES) for after in articles
    )
    return wrong / len(articles) if articles else 0.0


def _stem(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("’s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
