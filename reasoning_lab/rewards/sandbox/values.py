"""Values from the sandbox, read as if a hostile program had written every byte of them.

A value is JSON: a list of a tag and either text or values. Numbers and text are written in
hexadecimal, so that reading them takes linear time. What is read holds exact built-in types alone,
is no larger than the bytes that it came in, and is nested no deeper than `_MAX_DEPTH`.
"""

import json
from collections.abc import Callable
from typing import Any, NoReturn

Value = Any
"""None, bool, int, float, complex, str or bytes, or a list, tuple, set or dict of these."""

_MAX_DEPTH = 60
# Keys chosen to collide take quadratic time in sets and dictionaries.
_MAX_KEYS = 2000

_CONSTANTS = {"None": None, "True": True, "False": False}


class UnreadableError(ValueError):
    """Bytes from the sandbox that are no value: the call raised, or somebody forged them.

    `told` is what the sandbox said was raised, in one word, if it said so.
    """

    def __init__(self, told: str = "") -> None:
        super().__init__(told or "no value")
        self.told = told


def read_value(line: bytes) -> Value:
    """The value of one line.

    Raises:
        UnreadableError: there is none.
    """
    try:
        parsed = json.loads(line, parse_int=_no_number, parse_float=_no_number)
        if isinstance(parsed, list) and parsed[0] == "error":
            (_, told) = parsed
            raise UnreadableError(str(told)[:100])
        return _value(parsed, 0)
    except UnreadableError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise UnreadableError from error


def _no_number(text: str) -> NoReturn:
    raise ValueError("no bare number belongs here")


def _value(parsed: Any, depth: int) -> Value:
    if type(parsed) is not list or depth > _MAX_DEPTH:
        raise ValueError("no value")
    tag, *parts = parsed
    if tag in _SCALARS:
        if not all(type(part) is str for part in parts):
            raise ValueError("a scalar is text")
        return _SCALARS[tag](*parts)
    items = [_value(part, depth + 1) for part in parts]
    if tag not in ("list", "tuple") and len(items) > _MAX_KEYS:
        raise ValueError("too many keys")
    if tag == "dict":
        return dict(zip(items[::2], items[1::2], strict=True))
    return _COLLECTIONS[tag](items)


def _integer(text: str) -> int:
    return int(text, 16)


def _text(text: str) -> str:
    return bytes.fromhex(text).decode("utf-8", "surrogatepass")


def _complex(real: str, imaginary: str) -> complex:
    return complex(float.fromhex(real), float.fromhex(imaginary))


_SCALARS: dict[str, Callable[..., Value]] = {
    "constant": _CONSTANTS.__getitem__,
    "int": _integer,
    "float": float.fromhex,
    "complex": _complex,
    "str": _text,
    "bytes": bytes.fromhex,
}
_COLLECTIONS: dict[str, Callable[..., Value]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
