import ast

import pytest

from reasoning_lab.rewards.sandbox.assertions import UnsupportedTestError, read_tests


def split(test: str, setup: str = "") -> tuple[tuple[str, ...], str]:
    """The calls of one assertion, and what is left of it."""
    (assertion,) = read_tests((test,), setup).assertions
    return assertion.calls, ast.unparse(assertion.condition)


def holds(test: str, *values: object, setup: str = "") -> bool:
    (assertion,) = read_tests((test,), setup).assertions
    assert len(assertion.calls) == len(values)
    return assertion.holds(values)


@pytest.mark.parametrize(
    ("test", "calls", "condition"),
    [
        ("assert f([1, 2]) == {'a': 1}", ["f([1, 2])"], "#0 == {'a': 1}"),
        ("assert f(1) == 2, 'f(1) is 2'", ["f(1)"], "#0 == 2"),
        ("assert f(x=g(1), *[2]) == 3", ["f(*[2], x=g(1))"], "#0 == 3"),
        ("assert not f(1)", ["f(1)"], "not #0"),
        ("assert f(1) and not g(2)", ["f(1)", "g(2)"], "#0 and (not #1)"),
        ("assert f(1) == f(2)", ["f(1)", "f(2)"], "#0 == #1"),
        ("assert 3 == f(1)", ["f(1)"], "3 == #0"),
        ("assert set(f(1)) == set([2])", ["set(f(1))"], "#0 == set([2])"),
        ("assert sorted(list(f(1))) == [2]", ["sorted(list(f(1)))"], "#0 == [2]"),
        ("assert round(f(1), 2) == 0.33", ["f(1)"], "round(#0, 2) == 0.33"),
        ("assert abs(f(1) - 3.2) < 0.01", ["f(1)"], "abs(#0 - 3.2) < 0.01"),
        ("assert math.isclose(f(5), 3.2, rel_tol=0.001)", ["f(5)"],
         "math.isclose(#0, 3.2, rel_tol=0.001)"),
        ("assert f(1).strip()[0] == 'a'", ["f(1).strip()[0]"], "#0 == 'a'"),
        ("assert Stack(3).push(1).size == 1", ["Stack(3).push(1).size"], "#0 == 1"),
        ("assert LIMIT == 3", ["LIMIT"], "#0 == 3"),
        ("assert f([i * i for i in range(3)], lambda x: x) is None",
         ["f([i * i for i in range(3)], lambda x: x)"], "#0 is None"),
        ("assert f(1) == (2 ** 31) * [0]", ["f(1)"], "#0 == 2 ** 31 * [0]"),
        # A function of the program that is named like a built-in one
        ("assert sum(10, 15) == 6", ["sum(10, 15)"], "#0 == 6"),
    ],
)  # fmt: skip
def test_calls_go_into_the_sandbox_and_expected_values_do_not(
    test: str, calls: list[str], condition: str
) -> None:
    assert split(test) == (tuple(calls), condition)


def test_setup_and_imports_run_before_the_tests() -> None:
    tests = read_tests(("import math\nassert f(root) == 1\nassert f(2) == 2",), "root = Node(1)")
    assert tests.setup == "import math\nroot = Node(1)"
    assert [one.calls for one in tests.assertions] == [("f(root)",), ("f(2)",)]


@pytest.mark.parametrize(
    ("test", "value"),
    [
        ("assert f() == [1, (2, {3}), {'a': None}]", [1, (2, {3}), {"a": None}]),
        ("assert f()", [0]),
        ("assert not f()", []),
        ("assert f() is True", True),
        ("assert f() != 2", 1),
        ("assert 1 < f() <= 3", 3),
        ("assert f() in (1, 2)", 2),
        ("assert f() not in (1, 2)", 3),
        ("assert set(f()) == {1, 2}", {1, 2}),
        ("assert round(f(), 1) == 0.3", 0.33),
        ("assert math.isclose(f(), math.pi, rel_tol=0.01)", 3.14),
        ("assert isinstance(f(), (int, float))", 3),
        ("assert f() == 10 ** 20 or f() == 2", 2),
        ("assert f() == -1.5e3 + 2j", -1500 + 2j),
        ("assert f() == 'a' * 3", "aaa"),
        ("assert f() == float('inf')", float("inf")),
    ],
)
def test_an_assertion_that_holds(test: str, value: object) -> None:
    calls = test.count("f()")
    assert holds(test, *[value] * calls)


@pytest.mark.parametrize(
    ("test", "value"),
    [
        ("assert f() == 3", 4),
        ("assert f() == 3", None),
        ("assert f() == 3", "3"),
        ("assert f() == [1, 2]", (1, 2)),
        ("assert f() == 3", float("nan")),
        ("assert f() < 3", "text"),
        ("assert f() is True", 1),
        ("assert len([f(), 1]) == 3", 1),
        ("assert abs(f() - 3) < 1", [3]),
        ("assert round(f(), 2) == 0.33", float("nan")),
        ("assert math.isclose(f(), 1.0)", 10**400),
        ("assert f() == 'a' * f()", 10**12),
        ("assert f() == 2 ** f()", 10**12),
        ("assert str(f() + 1) == 'a'", 10**100_000),
        ("assert f() == {f(): 1}", []),
        ("assert f() % 2 == 0", "%9999999999d"),
        ("assert f() % 7 == 0", 7 << 10**6),
        ("assert f() * f() == 0", 1 << 10**6),
        ("assert f() * f() == 0", [0]),
    ],
    ids=lambda part: part if isinstance(part, str) else "value",
)
def test_an_assertion_that_does_not_hold(test: str, value: object) -> None:
    calls = test.count("f()")
    assert not holds(test, *[value] * calls)


@pytest.mark.parametrize(
    ("tests", "setup", "told"),
    [
        ((), "", "no tests"),
        (("assert f(1) ==",), "", "not Python"),
        (("assert f(1) == 2",), "def", "setup is not Python"),
        (("f(1)",), "", "only assertions and imports"),
        (("import math",), "", "asserts nothing"),
        (("assert 1 == 1",), "", "nothing is called"),
        (("x = f(1)\nassert x == 2",), "", "only assertions and imports"),
        # Would be judged inside, where the program could change the judge or read the answer.
        (("assert check(f, 2)",), "def check(f, y): return f(1) == y", "check"),
        (("assert check(f)",), "def check(f): return f(1) == 2", "check"),
        (("assert np.allclose(f(1), [2])",), "import numpy as np", "np"),
        (("assert f(1).startswith('a')",), "", "startswith"),
        (("assert f(1).issubset({1, 2})",), "", "issubset"),
        (("assert f(1).__eq__(2)",), "", "__eq__"),
        (("assert f(1) == expected",), "expected = 2", "expected"),
        (("assert isclose(f(1), 2)",), "from math import isclose", "isclose"),
        (("assert sum(1, 2) == sum([3])",), "", "more than once"),
        (("assert all(f(i) == i for i in [1])",), "", "all|for"),
        (("assert __import__('os').system(f(1)) == 0",), "", "system|__import__"),
        (("assert eval('1', f(1)) == 1",), "", "eval"),
        (("assert open(f(1), 'w')",), "", "open"),
        (("assert f(1) == ''.join(['a'])",), "", "join"),
        (("assert f(1) == {**{}}",), "", "{"),
        (("assert f(1) == dict(**{})",), "", "{"),
        (("assert f(1) == f'{1}'",), "", "f'"),
        (("assert math.__loader__ == f(1)",), "", "math.__loader__"),
    ],
)
def test_what_cannot_be_judged_outside_is_told(
    tests: tuple[str, ...], setup: str, told: str
) -> None:
    with pytest.raises(UnsupportedTestError, match=told):
        read_tests(tests, setup)
