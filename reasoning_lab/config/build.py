"""Plain mappings (what YAML holds) to specs and back; every spec is named by its `_target_`."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import ValidationError
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic_core import ErrorDetails

from reasoning_lab.config.mistakes import explain, in_one_message, nearest
from reasoning_lab.config.spec import ConfigError

TARGET = "_target_"
MISSING = "???"  # OmegaConf's mark for a value that the user must give
ALLOW_TARGETS = "REASONING_LAB_ALLOW_TARGETS"

_FAILED = object()  # stands for a nested spec whose own mistakes are already listed


def build(mapping: Any, origin: Callable[[str], str]) -> Any:
    """The spec that a mapping describes, with the specs nested in it.

    `origin` says where a dotted key was set, as in "on the command line".

    Raises:
        ConfigError: all wrong keys and values at once; or a combination that does not work.
    """
    mistakes: list[str] = []
    try:
        built = _build(mapping, "", origin, mistakes)
    except ConfigError as error:
        said = [f"  {key}: {origin(key)}" for key in error.keys]
        raise ConfigError("\n".join([str(error), *said]), keys=error.keys) from error
    if mistakes:
        raise ConfigError(in_one_message(mistakes))
    return built


def to_mapping(value: Any) -> Any:
    """The inverse of `build`: specs to dicts with a `_target_`, tuples to lists."""
    if is_pydantic_dataclass(type(value)):
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: to_mapping(getattr(value, name)) for name in names}
        return {TARGET: target_of(type(value)), **fields}
    if isinstance(value, Mapping):
        return {key: to_mapping(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_mapping(item) for item in value]
    return value


HOUSEKEEPING = frozenset(
    {"name", "runs_dir", "run_dir", "stop_at", "check", "mode", "plan", "sweep", "tracking"}
)
"""Keys of an experiment that change nothing in what comes out of a run."""


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of a nested mapping and the values there that are no mappings."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def defaults_of(cls: type) -> dict[str, Any]:
    """A spec's Python defaults as a mapping, `???` where there is none.

    Fields that hold other specs are left out where they have no default: a config group fills them.
    """
    node: dict[str, Any] = {TARGET: target_of(cls)}
    for name, field in cls.__pydantic_fields__.items():  # type: ignore[attr-defined]
        if not field.is_required():
            node[name] = to_mapping(field.get_default(call_default_factory=True))
        elif not is_pydantic_dataclass(field.annotation):
            node[name] = MISSING
    return node


def target_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _build(node: Any, key: str, origin: Callable[[str], str], mistakes: list[str]) -> Any:
    if isinstance(node, list):
        return tuple(_build(item, key, origin, mistakes) for item in node)
    if not isinstance(node, dict):
        return node
    fields = {
        name: _build(value, f"{key}.{name}".lstrip("."), origin, mistakes)
        for name, value in node.items()
        if name != TARGET and value != MISSING
    }
    if TARGET not in node:
        return fields
    try:
        cls = _locate(node[TARGET])
    except ConfigError as error:
        where = f"{key}.{TARGET}".lstrip(".")
        mistakes.append(f"{where}={node[TARGET]} ({origin(where)}): {error}")
        return _FAILED
    try:
        return cls(**{str(name): value for name, value in fields.items()})
    except ValidationError as error:  # a ConfigError is about a combination, and passes through
        mistakes += [
            explain(mistake, key, cls, origin)
            for mistake in error.errors()
            if not _echoes_another(mistake)
        ]
    return _FAILED


def _echoes_another(mistake: ErrorDetails) -> bool:
    """Whether pydantic only repeats that something inside, already reported, is wrong."""
    if mistake["type"] == "too_short":
        return bool(len(mistake["input"]) >= mistake["ctx"]["min_length"])
    return mistake["input"] is _FAILED


def import_allowed(path: str, kind: str) -> tuple[ModuleType, str]:
    """The module of a dotted path, imported if its package may be named in a config; and the rest.

    `kind` says in the message what is to be found there, as in "specs".

    Raises:
        ConfigError: outside of the packages allowed, or it cannot be imported.
    """
    allowed = ["reasoning_lab", *os.environ.get(ALLOW_TARGETS, "").replace(",", " ").split()]
    package, *_ = path.split(".")
    if package not in allowed:
        raise ConfigError(
            f"only {kind} of {', '.join(allowed)} may be named here. For one of your own, set the "
            f"environment variable {ALLOW_TARGETS}={package}."
        )
    module_name, _, name = path.rpartition(".")
    try:
        return import_module(module_name), name
    except ImportError as error:
        raise ConfigError(
            f"cannot be imported ({error}). Is it installed, or its folder on PYTHONPATH?"
        ) from error


def _locate(target: Any) -> Any:
    """The spec class that a `_target_` names.

    Raises:
        ConfigError: outside of the packages allowed, not there, or not a spec.
    """
    module, class_name = import_allowed(str(target), "specs")
    specs = {
        name: member
        for name, member in vars(module).items()
        if isinstance(member, type) and is_pydantic_dataclass(member)
    }
    if class_name not in specs:
        raise ConfigError(f"is not a spec.{nearest(class_name, specs)}")
    return specs[class_name]
