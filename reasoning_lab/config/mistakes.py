"""Validation errors in plain language: the key, the value, where it was said, what is allowed."""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

_REASONS = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list, as in [a,b]",
    "dict_type": "must be a mapping, as in {{a: 1}}",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "needs at least {min_length} of them",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "may hold letters, digits, dots, hyphens and underscores only",
}


def explain(mistake: ErrorDetails, prefix: str, cls: Any, origin: Callable[[str], str]) -> str:
    """One mistake that pydantic found while making a `cls` at the dotted key `prefix`."""
    names = [str(part) for part in mistake["loc"] if isinstance(part, str)]
    key = ".".join([prefix, *names]).lstrip(".")
    fields = cls.__pydantic_fields__
    if mistake["type"] == "missing":
        return f"{key} is missing ({fields[names[0]].description}). Give it: {key}=..."
    value = shown(mistake["input"])
    said = f"{key}={value} ({origin(key)})"
    if mistake["type"] == "unexpected_keyword_argument":
        where = f"{prefix or 'an experiment'} ({cls.__name__})"
        return f"{said}: no such key in {where}.{nearest(names[-1], fields, prefix)}"
    return f"{said}: {_reason(mistake, key, value)}"


def _reason(mistake: ErrorDetails, key: str, value: str) -> str:
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        return f"is not one of the choices.{nearest(str(mistake['input']), choices)}"
    if kind == "string_type":
        return f"must be text; quote it, as in {key}=\"'{value}'\"."
    if kind in ("is_instance_of", "dataclass_exact_type", "dataclass_type"):
        wanted = context.get("class") or context.get("class_name")
        return f"must be a {wanted}, named by its _target_."
    if kind == "value_error":
        return f"{context['error']}."
    if kind in _REASONS:
        return f"{_REASONS[kind].format(**context)}."
    return f"{mistake['msg']}."


def shown(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, tuple | list):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {shown(item)}' for name, item in value.items())}}}"
    return str(value)


def nearest(wrong: str, allowed: Iterable[str], prefix: str = "") -> str:
    """ " Did you mean b? There are: a, b, c.", or as much of it as applies."""
    names = sorted(allowed)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.5)
    guess = f" Did you mean {'.'.join([prefix, close[0]]).lstrip('.')}?" if close else ""
    verb = "is" if len(names) == 1 else "are"
    return f"{guess} There {verb}: {', '.join(names)}." if names else guess


def in_one_message(mistakes: Sequence[str]) -> str:
    if len(mistakes) == 1:
        return mistakes[0]
    return "\n".join([f"{len(mistakes)} mistakes:", *(f"  - {mistake}" for mistake in mistakes)])
