import re
from itertools import pairwise
from typing import Any

import pytest
import reasoning_gym

from reasoning_lab.data.traces import trace

_STEP = re.compile(r"(-?\d+) ([-+*]) (\d+) = (-?\d+)\.")
_RESULT = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}

CHAIN_SUMS = [
    {"min_terms": 2, "max_terms": 6, "min_digits": 1, "max_digits": 4},
    {"min_terms": 2, "max_terms": 5, "min_digits": 1, "max_digits": 1, "allow_negation": True},
]
PRODUCTS = [
    {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 4},
    {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1, "allow_negation": True},
]


def item(expression: str) -> dict[str, Any]:
    return {"metadata": {"expression": expression}}


def steps(text: str | None) -> list[tuple[int, str, int, int]]:
    """The equations of a trace, which must hold nothing else."""
    assert text is not None
    found = _STEP.findall(text)
    assert " ".join(f"{a} {sign} {b} = {c}." for a, sign, b, c in found) == text
    return [(int(a), sign, int(b), int(c)) for a, sign, b, c in found]


def assert_leads_to(text: str | None, answer: str) -> None:
    found = steps(text)
    for left, sign, right, result in found:
        assert _RESULT[sign](left, right) == result, text
    assert found[-1][3] == int(answer), text


@pytest.mark.parametrize("config", CHAIN_SUMS, ids=["plain", "with-negatives"])
def test_traces_of_chain_sums_hold_and_lead_to_the_answer(config: dict[str, Any]) -> None:
    below_zero = 0
    for entry in reasoning_gym.create_dataset("chain_sum", size=300, seed=1, **config):
        text = trace("chain_sum", entry)
        assert_leads_to(text, entry["answer"])
        found = steps(text)
        assert len(found) == entry["metadata"]["num_terms"] - 1
        for before, after in pairwise(found):
            assert after[0] == before[3]
        below_zero += any(result < 0 for *_, result in found)
    assert below_zero > 20


@pytest.mark.parametrize("config", PRODUCTS, ids=["plain", "with-negatives"])
def test_traces_of_products_hold_and_lead_to_the_answer(config: dict[str, Any]) -> None:
    for entry in reasoning_gym.create_dataset("products", size=300, seed=1, **config):
        assert_leads_to(trace("products", entry), entry["answer"])


@pytest.mark.parametrize(
    ("expression", "answer"),
    [("0 + 0", 0), ("0 - 7", -7), ("-4 - 9 + 0", -13), ("-4 - -9", 5), ("3 + -5 - 2", -4)],
)
def test_sums_with_zeros_and_negatives_hold(expression: str, answer: int) -> None:
    assert_leads_to(trace("chain_sum", item(expression)), str(answer))


@pytest.mark.parametrize(
    ("expression", "answer"),
    [("0 * 0", 0), ("0 * 37", 0), ("37 * 0", 0), ("7 * 1", 7), ("205 * 30", 6150)],
)
def test_products_with_zeros_hold(expression: str, answer: int) -> None:
    assert_leads_to(trace("products", item(expression)), str(answer))


@pytest.mark.parametrize(("expression", "answer"), [("-3 * 25", -75), ("-12 * -4", 48)])
def test_products_with_negatives_hold(expression: str, answer: int) -> None:
    assert_leads_to(trace("products", item(expression)), str(answer))


def test_a_product_is_worked_by_places_of_the_larger_factor() -> None:
    expected = "7 * 20 = 140. 7 * 3 = 21. 140 + 21 = 161."
    assert trace("products", item("23 * 7")) == trace("products", item("7 * 23")) == expected


def test_nobody_wrote_a_trace_for_other_tasks_nor_for_three_factors() -> None:
    assert trace("gcd", item("1 + 1")) is None
    assert trace("products", item("2 * 3 * 4")) is None
