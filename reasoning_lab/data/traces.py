"""Worked traces for tasks of reasoning-gym, written from the items' own expressions."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from reasoning_lab.data.sources.product import by_place
from reasoning_lab.data.sources.running_sum import running_total

Item = Mapping[str, Any]


def trace(task: str, item: Item) -> str | None:
    """The reasoning that leads to an item's answer; None for tasks that nobody wrote one for."""
    write = _TRACES.get(task)
    return write(item) if write else None


def _chain_sum(item: Item) -> str:
    """4 + 3 - 9 -> 4 + 3 = 7. 7 - 9 = -2. What is negative itself, as in 4 - -3, is added."""
    terms = re.findall(r"(- )?(-?\d+)", item["metadata"]["expression"])
    return running_total([-int(term) if minus else int(term) for minus, term in terms])


def _basic_arithmetic(item: Item) -> str | None:
    """As chain_sum, for sums and differences of numbers; None where anything else occurs."""
    is_chain = re.fullmatch(r"\d+( [+-] \d+)+", item["metadata"]["expression"])
    return _chain_sum(item) if is_chain else None


def _products(item: Item) -> str | None:
    """7 * 23 -> 7 * 20 = 140. 7 * 3 = 21. 140 + 21 = 161. None for more than two factors."""
    factors = [int(factor) for factor in item["metadata"]["expression"].split(" * ")]
    if len(factors) != 2:
        return None
    if max(factors) < 0:
        factors = [-factor for factor in factors]
    return by_place(min(factors), max(factors))


_TRACES: dict[str, Callable[[Item], str | None]] = {
    "basic_arithmetic": _basic_arithmetic,
    "chain_sum": _chain_sum,
    "products": _products,
}
