"""The command of a sweep with other values, and the next value of an axis."""

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isclose

from reasoning_lab.compare.comparison import Axis
from reasoning_lab.compare.find import Sweep


def command_with(
    sweep: Sweep, values: Mapping[str, Sequence[str]], *, retry_failed: bool = False
) -> str:
    """The sweep's command with other values of some keys, joining the same sweep.

    With other values it is a grid, whatever the sweep was: a search would choose values itself.
    """
    wanted = {key: ",".join(several) for key, several in values.items()}
    wanted["sweep.name"] = sweep.name
    if retry_failed:
        wanted["sweep.retry_failed"] = "true"
    words = []
    for word in shlex.split(sweep.command):
        name = word.partition("=")[0]
        found = next((key for key in wanted if "=" in word and _same_key(key, name)), None)
        if found is not None:
            words.append(f"{name}={wanted.pop(found)}")
        elif not _dropped(name, is_grid=bool(values)):
            words.append(word)
    return shlex.join([*words, *(f"{key}={value}" for key, value in wanted.items())])


def _same_key(key: str, other: str) -> bool:
    """Whether both set the same key; "+lora.rank" sets lora.rank."""
    return key.lstrip("+") == other.lstrip("+")


def _dropped(name: str, *, is_grid: bool) -> bool:
    key = name.lstrip("+")
    return key == "sweep.retry_failed" or (is_grid and (key == "sweep" or key.startswith("sweep.")))


def value_beyond(axis: Axis, value: str) -> str | None:
    """The next value after the best one at the end of an axis; None inside, or without numbers.

    It goes on as the axis does: by the same factor, or else by the same step. Zero, and one for
    values from 0 to 1, are not crossed, for they often bound what a key may be.
    """
    if (
        not axis.is_numeric
        or len(axis.values) < 2
        or value not in (axis.values[0], axis.values[-1])
    ):
        return None
    inward = axis.values[1] if value == axis.values[0] else axis.values[-2]
    at, before = float(value), float(inward)
    numbers = [float(one) for one in axis.values]
    factors = [b / a for a, b in pairwise(numbers) if a > 0]
    is_by_factor = len(factors) == len(numbers) - 1 and (
        all(isclose(factor, factors[0], rel_tol=0.05) for factor in factors)
    )
    beyond = at * at / before if is_by_factor else 2 * at - before
    if (beyond <= 0 <= at) or (max(numbers) <= 1 < beyond and min(numbers) >= 0):
        return None
    whole = all(re.fullmatch(r"-?\d+", one) for one in axis.values)
    if whole and not isclose(beyond, round(beyond)):
        return None
    return str(round(beyond)) if whole else f"{beyond:.6g}"
