"""Tests as assertions: the calls that go into the sandbox, and what is asked of their values here.

`assert f([1, 2]) == {3}` becomes the call `f([1, 2])`, which a program is asked for, and the
condition `#0 == {3}`, which is evaluated on this side with the value that came back. What a value
is compared with never enters the sandbox, so a program cannot find it there.
"""

import ast
import builtins
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from reasoning_lab.rewards.sandbox.conditions import MODULES, evaluate, is_known
from reasoning_lab.rewards.sandbox.values import Value

# Methods of built-in types that say yes or no. An object of the program's that has them may say
# what it likes.
_JUDGES = frozenset(
    name
    for kind in (str, bytes, int, float, list, dict, set)
    for name in dir(kind)
    if name.startswith(("is", "startswith", "endswith", "__"))
)


class UnsupportedTestError(ValueError):
    """A test that cannot be split into calls and a comparison."""


@dataclass(frozen=True, eq=False)
class Assertion:
    """One assertion.

    calls: Python expressions, to be evaluated in the sandbox.
    condition: what is asserted, in which the name #i stands for the value of the i-th call.
    """

    calls: tuple[str, ...]
    condition: ast.expr

    def holds(self, values: Sequence[Value]) -> bool:
        """Whether the condition is true for the values of the calls. Never raises."""
        try:
            return bool(evaluate(self.condition, values))
        except Exception:  # a comparison of what cannot be compared, as of a number with text
            return False


@dataclass(frozen=True, eq=False)
class Tests:
    """Assertions, and what has to run before them besides the example's own setup."""

    assertions: tuple[Assertion, ...]
    setup: str


@lru_cache(maxsize=4096)
def read_tests(tests: tuple[str, ...], setup: str) -> Tests:
    """Split tests as an example has them; each is Python with assertions and imports alone.

    Raises:
        UnsupportedTestError: one of them asserts something in another way, or has an expected value
            that the program could see: `check(f(1), 2)` where `check` is defined in the setup.
    """
    if not tests:
        raise UnsupportedTestError("there are no tests.")
    bound = _bound(setup, "the setup")
    imports: list[str] = []
    assertions: list[Assertion] = []
    for test in tests:
        bound_here = bound | _bound(test, "a test")
        before = len(assertions)
        for statement in ast.parse(test).body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                imports.append(ast.unparse(statement))
            elif isinstance(statement, ast.Assert):
                assertions.append(_split(statement.test, bound_here))
            else:
                raise UnsupportedTestError(f"only assertions and imports can be tests: {test}")
        if len(assertions) == before:
            raise UnsupportedTestError(f"this test asserts nothing: {test}")
    return Tests(tuple(assertions), "\n".join([*imports, setup]))


def _bound(source: str, what: str) -> set[str]:
    """Names that a piece of Python defines, assigns or imports."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnsupportedTestError(f"{what} is not Python ({error}): {source}") from error
    names = set()
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name):
                names.add(name)
            case ast.alias(name=name, asname=alias):
                names.add(alias or name.partition(".")[0])
    return names


def _split(asserted: ast.expr, bound: Collection[str]) -> Assertion:
    """The assertion; `bound` are names that the setup or the test defines, not the program."""
    known = {*dir(builtins), *MODULES, *bound}
    names = {node.id for node in ast.walk(asserted) if isinstance(node, ast.Name)}
    splitter = _Splitter(names - known or {_first_called(asserted)}, bound)
    condition = splitter.visit(asserted)
    _check(condition, ast.unparse(asserted))
    return Assertion(tuple(splitter.calls), condition)


def _first_called(asserted: ast.expr) -> str:
    """The program's function if its name is that of a built-in one: sum(10, 15) == 6."""
    calls = [
        (node.lineno, node.col_offset, node.func.id)
        for node in ast.walk(asserted)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    if not calls:
        raise UnsupportedTestError(f"nothing is called: {ast.unparse(asserted)}")
    (_, _, name) = min(calls)
    if sum(called == name for _, _, called in calls) > 1:
        raise UnsupportedTestError(
            f"{name} is called more than once, and may be the program's or Python's own: "
            f"{ast.unparse(asserted)}"
        )
    return name


class _Splitter(ast.NodeTransformer):
    """Puts names in place of what the sandbox is to evaluate."""

    def __init__(self, tested: Collection[str], bound: Collection[str]) -> None:
        self._tested = tested
        self._built_in = {*dir(builtins)}.difference(bound)
        self.calls: list[str] = []

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and self._is_the_program_s(node):
            self.calls.append(ast.unparse(node))
            return ast.Name(f"#{len(self.calls) - 1}", ast.Load())
        return self.generic_visit(node)

    def _is_the_program_s(self, node: ast.expr) -> bool:
        """Whether a node is a name of the program's, or what is called, looked up or read of it.

        So is a built-in function of that alone, as set(f(1)): it may turn what cannot be sent, such
        as a generator, into what can. A function of the setup is not, which would judge in there.
        """
        match node:
            case ast.Name(id=name):
                return name in self._tested
            case ast.Attribute(value=inner, attr=name) if name not in _JUDGES:
                return self._is_the_program_s(inner)
            case ast.Subscript(value=inner):
                return self._is_the_program_s(inner)
            case ast.Call(func=ast.Name(id=name), args=[only], keywords=[]) if (
                name in self._built_in and name not in self._tested
            ):
                return self._is_the_program_s(only)
            case ast.Call(func=function):
                return self._is_the_program_s(function)
        return False


def _check(condition: ast.expr, asserted: str) -> None:
    """Raise unless `evaluate` knows everything in a condition."""
    for node in ast.walk(condition):
        if not is_known(node):
            raise UnsupportedTestError(
                f"cannot be judged outside of the sandbox because of `{_shown(node)}`: {asserted}"
            )


def _shown(node: ast.AST) -> str:
    return ast.unparse(node) or type(node).__name__
