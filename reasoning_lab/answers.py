"""Whether two short answers say the same: exact and conservative, for text a model wrote.

Numbers are compared as fractions, anything else as text. A spelling that is not surely a number
(3:2, 120k, 2^3) is text, so a doubtful answer is wrong rather than right by accident.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from reasoning_lab.formats import SOLUTION_END, SOLUTION_START

# A longer answer is text: it bounds the cost of an exact fraction.
_MAX_NUMBER_CHARS = 100

_SPELLINGS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2044": "/", "\u00d7": "*"})

# Groups of thousands must be whole: 1,23 and 12,34 are not numbers. At most three digits of
# exponent keep 1e999999999 from being computed.
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?) ?(?P<currency>\\?\$|€|£)? ?(?P<late_sign>[+-]?)"
    rf"(?:(?P<whole>{_DIGITS}) (?P<part>{_DIGITS}/{_DIGITS})"
    rf"|(?P<numerator>{_DECIMAL}) ?/ ?(?P<denominator>{_DECIMAL})"
    rf"|(?P<decimal>{_DECIMAL}(?:[eE][+-]?[0-9]{{1,3}})?))"
    rf" ?(?P<unit>\\?%|€|£|[A-Za-z]+)?"
)
_LATEX_FRACTION = re.compile(r" ?\\[dt]?frac\{([0-9]+)\}\{([0-9]+)\} ?")

# Only units that do not change the number: "5 cents", "3 dozen" and "2 million" stay text, and so
# does "5m", which may be millions.
_UNITS = {
    spelling: unit
    for unit, spellings in {
        "$": r"$ \$ dollar dollars usd",
        "€": "€ euro euros eur",
        "£": "£ gbp",
        "mm": "mm millimetre millimetres millimeter millimeters",
        "cm": "cm centimetre centimetres centimeter centimeters",
        "m": "metre metres meter meters",
        "km": "km kilometre kilometres kilometer kilometers",
        "g": "gram grams",
        "kg": "kg kilogram kilograms",
        "l": "litre litres liter liters",
        "s": "sec second seconds",
        "min": "min minute minutes",
        "h": "hour hours",
        "day": "day days",
        "week": "week weeks",
        "month": "month months",
        "year": "year years",
    }.items()
    for spelling in spellings.split()
}
_PERCENT = {"%", r"\%", "percent"}

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# "B", "b.", "(B)", "Option B"; and "B: the Moon", "B) the Moon", "(B) the Moon".
_LETTER = re.compile(r"(?:option ?)?(?:\(([a-z])\)|([a-z])[).:]?)")
_LETTER_AND_TEXT = re.compile(r"(?:option ?)?(?:\(([a-z])\)|([a-z])[).:]) ?(.+)")


@dataclass(frozen=True)
class _Quantity:
    value: Fraction
    unit: str | None


def answers_match(given: str, expected: str) -> bool:
    """Whether `given` is the answer `expected`. Never raises, and takes linear time.

    A number may be written with thousands commas, a currency sign or a simple unit; a unit may be
    left out on one side, but two units must agree. 70% is 0.7 and not 70.
    """
    given, expected = plain(given), plain(expected)
    if not given or not expected:
        return False
    left, right = _quantity(given), _quantity(expected)
    if left is None and right is None:
        return _text(given) == _text(expected)
    if left is None or right is None:
        return False
    same_unit = left.unit is None or right.unit is None or left.unit == right.unit
    return left.value == right.value and same_unit


def names_option(given: str, options: Sequence[str], answer: str) -> bool:
    """Whether `given` names the one of `options` that `answer` is, a letter and text as "B: Moon".

    It may be the letter alone, the option's text alone, or both if they belong together; case,
    spaces and the punctuation at the end do not matter. Several options, or one in a sentence, are
    none. A letter alone is that letter, even where it is the text of another option.

    Raises:
        ValueError: `answer` is none of the options.
    """
    texts = [_option(option) for option in options]
    letter, _, expected = answer.partition(":")
    right = _LETTERS.find(letter.casefold())
    if len(letter) != 1 or not 0 <= right < len(texts) or texts[right] != _option(expected):
        raise ValueError(
            f"the answer {answer!r} is none of the options {list(options)}: it must be a letter "
            "and the text of that option, as 'B: the Moon'"
        )
    text = _option(given)
    alone = _LETTER.fullmatch(text)
    if alone:
        return (alone[1] or alone[2]) == _LETTERS[right]
    if text in texts:
        return text == texts[right] and texts.count(text) == 1
    both = _LETTER_AND_TEXT.fullmatch(text)
    return both is not None and (both[1] or both[2]) == _LETTERS[right] and both[3] == texts[right]


def is_number(answer: str) -> bool:
    """Whether an answer is surely a number, so that `answers_match` compares it exactly."""
    return _quantity(plain(answer)) is not None


def plain(answer: str) -> str:
    """The answer without what is wrapped round it: tags, LaTeX, emphasis, a full stop."""
    text = " ".join(answer.translate(_SPELLINGS).split())
    for start, end in (
        (SOLUTION_START, SOLUTION_END),
        ("**", "**"),
        ("\\boxed{", "}"),
        ("$", "$"),
        ("\\(", "\\)"),
    ):
        wrapped = text.startswith(start) and text.endswith(end)
        if wrapped and len(text) > len(start) + len(end):
            text = text[len(start) : -len(end)].strip()
    return text.removesuffix(".").rstrip()


def _quantity(text: str) -> _Quantity | None:
    """The number that `text` is, with its unit, or None if it is not surely a number."""
    if len(text) > _MAX_NUMBER_CHARS:
        return None
    match = _NUMBER.fullmatch(_LATEX_FRACTION.sub(r" \1/\2 ", text).strip())
    if match is None or (match["sign"] and match["late_sign"]):
        return None
    if match["currency"] and match["unit"]:
        return None
    unit = (match["currency"] or match["unit"] or "").casefold()
    if unit and unit not in _UNITS and unit not in _PERCENT:
        return None
    value = _value(match)
    if value is None:
        return None
    if unit in _PERCENT:
        value /= 100
    if "-" in (match["sign"], match["late_sign"]):
        value = -value
    return _Quantity(value, _UNITS.get(unit))


def _value(match: re.Match[str]) -> Fraction | None:
    """The unsigned number of a match; None for a division by nought."""
    if match["decimal"]:
        return _fraction(match["decimal"])
    if match["part"]:
        numerator, denominator = match["part"].split("/")
        whole = _fraction(match["whole"])
    else:
        numerator, denominator = match["numerator"], match["denominator"]
        whole = Fraction(0)
    divisor = _fraction(denominator)
    return None if divisor == 0 else whole + _fraction(numerator) / divisor


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").removesuffix("."))


def _text(text: str) -> str:
    """Text for comparison: case and the spaces round punctuation do not matter."""
    return re.sub(r" ?([:,;/()]) ?", r"\1", text).casefold()


def _option(text: str) -> str:
    """An option for comparison: without case, wrapping and final punctuation."""
    whole = _text(plain(text))
    return whole.rstrip(" .,;!?") or whole
