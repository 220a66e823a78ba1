"""`python launch.py --help`: the groups, every key with its type and default, and examples."""

import dataclasses
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reasoning_lab.config.composition import CONF_DIR
from reasoning_lab.config.mistakes import shown

_EXAMPLES = {
    "python launch.py": "the default experiment",
    "python launch.py lora.rank=4 stage.learning_rate=1e-4": "the same with other settings",
    "python launch.py data=table data.sources.table.path=mine.jsonl": "your own problems",
    "python launch.py stage=grpo init_from=latest": "reinforce what the last run learned",
    "python launch.py experiment=quick_cpu check=true": "only validate and print",
    "python launch.py -m lora.rank=4,8 seed=0,1": "one run for each combination",
}
_PLAIN_WIDTH = 120  # columns where the output is no terminal


def print_help(experiment: Any, groups: Mapping[str, tuple[str, Sequence[str]]]) -> None:
    """Print what can be set.

    Args:
        experiment: the spec whose keys and values are shown.
        groups: config group -> (what it is made with, what can be chosen).
    """
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_PLAIN_WIDTH)
    console.print("python launch.py [GROUP=CHOICE] [KEY=VALUE] ...")
    for title, table in {
        "Groups (* is chosen)": _groups(groups),
        "Keys (KEY=VALUE as chosen)": _table(_keys("", experiment)),
        "Examples": _table(_EXAMPLES.items()),
    }.items():
        console.print(f"\n{title}", style="bold")
        console.print(table)
    console.print(
        "\n--cfg job prints the composed config, --hydra-help explains Hydra's own flags."
    )


def _table(rows: Iterable[Sequence[str | Text]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        while len(table.columns) < len(row):
            table.add_column(overflow="fold")
        table.add_row(*row)
    return table


def _groups(groups: Mapping[str, tuple[str, Sequence[str]]]) -> Table:
    rows = []
    for group, (chosen, choices) in groups.items():
        for choice in choices:
            mark = "*" if choice == chosen else ""
            title = group if choice == choices[0] else ""
            rows.append((title, f"{choice}{mark}", _head_comment(group, choice)))
    return _table(rows)


def _head_comment(group: str, choice: str) -> str:
    """The comment at the top of a YAML file; none for a choice that is defined in Python."""
    path = CONF_DIR / group / f"{choice}.yaml"
    words = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        if not line.startswith("#"):
            break
        if not line.startswith(("# @package", "# python ")):
            words.append(line.removeprefix("#").strip())
    return " ".join(words)


def _keys(prefix: str, value: Any) -> Iterator[tuple[str, Text]]:
    """(key=value, description and type) of every field of a spec and of the specs in it."""
    for field in dataclasses.fields(value):
        info: FieldInfo = type(value).__pydantic_fields__[field.name]
        item, key = getattr(value, field.name), f"{prefix}{field.name}"
        if is_pydantic_dataclass(type(item)):
            yield from _keys(f"{key}.", item)
        elif isinstance(item, dict) and any(is_pydantic_dataclass(type(i)) for i in item.values()):
            for name, member in item.items():
                yield from _keys(f"{key}.{name}.", member)
        else:
            meaning = Text.assemble(info.description or "", " ", (f"({type_of(info)})", "dim"))
            yield f"{key}={shown(item)}", meaning


def type_of(info: FieldInfo) -> str:
    """A field's type and bounds, as in "int ≥ 1"."""
    bounds = []
    for bound in info.metadata:
        match bound:
            case Ge(limit):
                bounds.append(f"≥ {limit:g}")
            case Gt(limit):
                bounds.append(f"> {limit:g}")
            case Le(limit):
                bounds.append(f"≤ {limit:g}")
            case Lt(limit):
                bounds.append(f"< {limit:g}")
    return f"{_type_name(info.annotation)} {', '.join(bounds)}".strip()


def _type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "|".join(map(str, arguments))
    if origin in (types.UnionType, Union):
        return "|".join(map(_type_name, arguments))
    if origin is tuple:
        return f"[{_type_name(arguments[0])}, ...]"
    if origin is dict:
        return "{name: value}"
    return "null" if annotation is type(None) else str(annotation.__name__)
