"""What a test asks of values, evaluated on this side: comparisons, arithmetic and a few functions.

The condition is the data set's, but its values are what a hostile program chose. So nothing known
here makes more of a value than fits into memory and a moment.
"""

import ast
import math
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

from reasoning_lab.rewards.sandbox.values import Value

_MAX_LENGTH = 100_000  # of what `"ab" * n` makes
_MAX_BITS = 100_000  # of what `2 ** n` makes

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(abs, all, any, bool, complex, dict, float, frozenset, int, isinstance, len, list, max),
        *(min, round, set, sorted, str, sum, tuple),
    )
}
MODULES: dict[str, dict[str, Any]] = {
    "math": {name: getattr(math, name) for name in ("isclose", "sqrt", "pi", "e", "inf", "nan")},
    "sys": {"getsizeof": sys.getsizeof},
}


def _numbers(operate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """An operation on numbers of a sensible size, which takes no time worth speaking of."""

    def checked(left: Any, right: Any) -> Any:
        for one in (left, right):
            if not isinstance(one, int | float | complex):  # "%9999999999d" % 1 would fill memory
                raise TypeError("no number")
            if isinstance(one, int) and one.bit_length() > _MAX_BITS:
                raise OverflowError("too large a number")
        return operate(left, right)

    return checked


@_numbers
def _power(base: Any, exponent: Any) -> Any:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and base.bit_length() * abs(exponent) > _MAX_BITS:
        raise OverflowError("too large a power")
    return base**exponent


def _multiply(left: Any, right: Any) -> Any:
    for sequence, times in ((left, right), (right, left)):
        if isinstance(sequence, str | bytes | list | tuple):
            if len(sequence) * times > _MAX_LENGTH:
                raise OverflowError("too long a product")
            return sequence * times
    return _numbers(operator.mul)(left, right)


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _multiply,
    ast.Div: _numbers(operator.truediv),
    ast.FloorDiv: _numbers(operator.floordiv),
    ast.Mod: _numbers(operator.mod),
    ast.Pow: _power,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
}


_PLAIN = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Load, ast.UnaryOp, ast.BinOp, ast.BoolOp),
    *(ast.And, ast.Or, ast.Compare, ast.Call),
)


def is_known(node: ast.AST) -> bool:
    """Whether `evaluate` knows what a node of a condition is; #i is the i-th value."""
    match node:
        case ast.Name(id=name):
            return name.startswith("#") or name in _FUNCTIONS or name in MODULES
        case ast.Attribute():
            return _member(node) is not None
        case ast.Dict(keys=keys):
            return None not in keys  # {**other}
        case ast.keyword(arg=name):
            return name is not None  # f(**other)
    return type(node) in _OPERATORS or isinstance(node, _PLAIN)


def _member(node: ast.Attribute) -> Any:
    """What math.isclose and the like stand for; None: nothing that is known here."""
    if isinstance(node.value, ast.Name):
        return MODULES.get(node.value.id, {}).get(node.attr)
    return None


def evaluate(node: ast.expr, values: Sequence[Value]) -> Any:
    """What a condition comes to; all in it is known. It may raise any Exception."""

    def of(part: ast.expr) -> Any:
        return evaluate(part, values)

    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return values[int(node.id[1:])] if node.id[0] == "#" else _FUNCTIONS[node.id]
        case ast.Attribute():
            return _member(node)
        case ast.List():
            return [of(item) for item in node.elts]
        case ast.Tuple():
            return tuple(of(item) for item in node.elts)
        case ast.Set():
            return {of(item) for item in node.elts}
        case ast.Dict():
            return {
                of(key): of(item) for key, item in zip(node.keys, node.values, strict=True) if key
            }
        case ast.UnaryOp():
            return _OPERATORS[type(node.op)](of(node.operand))
        case ast.BinOp():
            return _OPERATORS[type(node.op)](of(node.left), of(node.right))
        case ast.BoolOp():
            every = isinstance(node.op, ast.And)
            return (all if every else any)(of(part) for part in node.values)
        case ast.Compare():
            sides = [of(side) for side in (node.left, *node.comparators)]
            pairs = zip(node.ops, sides, sides[1:], strict=False)
            return all(_OPERATORS[type(op)](left, right) for op, left, right in pairs)
        case ast.Call():
            keywords = {one.arg: of(one.value) for one in node.keywords if one.arg}
            return of(node.func)(*map(of, node.args), **keywords)
    raise AssertionError(f"is_known lets no {type(node).__name__} through")
