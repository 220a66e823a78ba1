"""What is wrong where Hydra refuses to compose. Its own advice ("append with +") misleads here."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reasoning_lab.config.mistakes import nearest, shown

SCHEMA_SUFFIX = "_spec"  # nodes with Python defaults: YAML inherits them, users do not choose them


def choices(loader: ConfigLoader, group: str) -> list[str]:
    """The variants of a config group that a user can choose; none if there is no such group."""
    options = loader.get_group_options(group) if group else []
    return [option for option in options if not option.endswith(SCHEMA_SUFFIX)]


def parse(text: str) -> Override | None:
    """The override that a text stands for; none if it cannot be read."""
    try:
        [override] = OverridesParser.create().parse_overrides([text])
    except OverrideParseException:
        return None
    return override


def wrong_overrides(
    loader: ConfigLoader, root: str, overrides: Sequence[str], said: str
) -> list[str]:
    """The mistakes in the overrides, each taken by itself; none if the fault is elsewhere."""
    mistakes, parsed = [], []
    for text in overrides:
        override = parse(text)
        if override is None:
            mistakes.append(
                f"{text} ({said}) cannot be read. Write key=value, and quote a value with spaces, "
                "commas, brackets or quotes in it: key=\"'a, b'\"."
            )
        else:
            parsed.append(override)
    if mistakes:
        return mistakes
    of_groups = [o for o in parsed if _chooses(loader, o)]
    for override in of_groups:
        for reason in _wrong_choice(loader, override):
            mistakes.append(f"{override.input_line} ({said}) {reason}")
    if mistakes:
        return mistakes
    chosen = [str(override.input_line) for override in of_groups]
    try:
        composed = hydra.compose(root, chosen, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):  # the fault is in a file
        return []
    base: Any = OmegaConf.to_container(composed)
    for override in parsed:
        if override not in of_groups:
            for reason in _wrong_key(base, override):
                mistakes.append(f"{override.input_line} ({said}) {reason}")
    return mistakes


def wrong_files(folder: Path, loader: ConfigLoader, error: BaseException) -> list[str]:
    """The mistakes in the YAML files under `folder` that made Hydra raise `error`."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        entry = re.compile(rf"{re.escape(Path(group).name)}\S*:\s*{re.escape(choice)}(?!\w)")
        files = [path for path in _yaml_files(folder) if entry.search(path.read_text("utf-8"))]
        where = ", ".join(_name(folder, path) for path in files)
        hint = nearest(choice, choices(loader, group))
        return [f"{group}: {choice} (in {where}) is not a choice of {group}.{hint}"]
    group_override = re.match(r"In '(.+)': Could not override '(.+)'", str(error))
    if group_override:
        file, group = group_override.groups()
        hint = nearest(group, loader.list_groups(""))
        return [f"{group} (overridden in {folder.name}/{file}.yaml) is not a group.{hint}"]
    unreadable = []
    for path in _yaml_files(folder):
        try:
            OmegaConf.load(path)
        except (yaml.YAMLError, OmegaConfBaseException) as reason:
            unreadable.append(f"{_name(folder, path)} cannot be read: {first_line(reason)}")
    return unreadable or [first_line(error)]


def first_line(error: BaseException) -> str:
    """What happened, without OmegaConf's notes on its own objects."""
    lines = str(error.__cause__ or error).strip().splitlines()
    told = [line.strip() for line in lines if "full_key:" not in line and "object_type" not in line]
    return " ".join(told)


def _chooses(loader: ConfigLoader, override: Override) -> bool:
    """Whether it chooses from a group (model=gemma3_1b_it) rather than setting a key."""
    if not choices(loader, override.key_or_group):
        return False
    return override.is_sweep_override() or not isinstance(override.value(), dict)


def _wrong_choice(loader: ConfigLoader, override: Override) -> Iterator[str]:
    group = override.key_or_group
    if override.is_sweep_override():
        yield "names several values: add -m to run a job for each."
    elif not override.is_delete() and not isinstance(override.value(), list):
        choice, options = shown(override.value()), choices(loader, group)
        if override.value() is None:
            yield f"is no choice: to leave {group} out, write ~{group}."
        elif choice not in options:
            yield f"is not a choice of {group}.{nearest(choice, options)}"
        elif override.is_add() and override.package is None:
            yield f"adds what is there already: write {group}={choice} to replace it."


def _wrong_key(base: dict[str, Any], override: Override) -> Iterator[str]:
    if override.is_sweep_override():
        yield "names several values: add -m to run a job for each, or write a list as [a,b]."
        return
    for key in _leaves(override.key_or_group, override.value()):
        parent, node, name = _deepest(base, key)
        siblings = [str(k) for k in node if not str(k).startswith("_") and k != "hydra"]
        if override.is_add() and name in node:
            yield f"adds what is there already: leave out the + to change {key}."
        elif not override.is_add() and not override.is_force_add() and name not in node:
            elsewhere = [k for k in _leaves("", base) if k.endswith(f".{name}")]
            hint = f" Did you mean {elsewhere[0]}?" if elsewhere and not parent else ""
            hint = hint or nearest(name, siblings, parent)
            if not hint:  # an empty mapping, which can take any key
                hint = f" A new one takes a +, as in +{key}=..."
            yield f"names no key of {parent or 'an experiment'}.{hint}"


def _leaves(key: str, value: Any) -> Iterator[str]:
    """Dotted keys of all values in nested mappings."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(f"{key}.{name}".lstrip("."), item)
    else:
        yield key


def _deepest(node: Any, key: str) -> tuple[str, dict[str, Any], str]:
    """(key of the deepest mapping that `key` passes through, that mapping, the rest of `key`)."""
    *outer, last = key.split(".")
    for depth, name in enumerate(outer):
        if not isinstance(node.get(name), dict):
            return ".".join(outer[:depth]), node, ".".join([*outer[depth:], last])
        node = node[name]
    return ".".join(outer), node, last


def _yaml_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.yaml"))


def _name(folder: Path, path: Path) -> str:
    return str(path.relative_to(folder.parent))
