"""Whether the equations in a worked trace are true: wrong arithmetic must not be taught."""

import ast
import re
from fractions import Fraction
from itertools import pairwise

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_EXPRESSION = rf"\(*{_NUMBER}\)*(?: ?[-+*/] ?\(*{_NUMBER}\)*)*"
_LEFT = re.compile(rf"{_EXPRESSION} ?$")
_RIGHT = re.compile(rf"^ ?{_EXPRESSION}")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_TIMES = re.compile(r"(?<= )x(?= [0-9])")
_WORDS = re.compile(r"[A-Za-z']+(?:/[A-Za-z]+)*")
_SIGNS = str.maketrans({"$": "", "€": "", "£": "", "×": "*"})


def equations(text: str) -> list[tuple[str, str]]:
    """The (left, right) sides of every `=` in the text, words and currency signs taken out.

    A side that holds no arithmetic is ''. Of "12 cakes * $3 = $36 in all" it gives
    ("12 * 3", "36").
    """
    found = []
    for line in text.splitlines():
        signs = _THOUSANDS.sub("", line).translate(_SIGNS)
        plain = _WORDS.sub("", _TIMES.sub("*", signs))
        sides = [" ".join(side.split()) for side in plain.split("=")]
        for before, after in pairwise(sides):
            left, right = _LEFT.search(before), _RIGHT.search(after)
            found.append((left[0].strip() if left else "", right[0].strip() if right else ""))
    return found


def holds(left: str, right: str) -> bool:
    """Whether `left` is a calculation, and equal to `right`."""
    try:
        sides = ast.parse(left, mode="eval").body, ast.parse(right, mode="eval").body
        return isinstance(sides[0], ast.BinOp) and _value(sides[0]) == _value(sides[1])
    except (SyntaxError, ZeroDivisionError):
        return False


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number):
            return Fraction(str(number))
        case ast.BinOp(left, ast.Add(), right):
            return _value(left) + _value(right)
        case ast.BinOp(left, ast.Sub(), right):
            return _value(left) - _value(right)
        case ast.BinOp(left, ast.Mult(), right):
            return _value(left) * _value(right)
        case ast.BinOp(left, ast.Div(), right):
            return _value(left) / _value(right)
    raise SyntaxError(f"not plain arithmetic: {ast.dump(node)}")
