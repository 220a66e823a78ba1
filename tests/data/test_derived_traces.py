"""Traces that are written from the row itself."""

import subprocess
import sys

import pytest

from reasoning_lab.data.derived_traces import choice_trace, story_trace, summary_trace
from reasoning_lab.data.derived_traces_code import code_trace

PROGRAMS = {
    """
def remove_occ(s, ch):
    for i in range(len(s)):
        if s[i] == ch:
            s = s[0:i] + s[i + 1:]
            break
    return s
""": "Define remove_occ(s, ch). For each i in range(len(s)): if s[i] == ch, "
    "set s to s[0:i] + s[i + 1:] and stop. Return s.",
    """
import math, re
from os import *
R = 3
def f(a, b=2, *c):
    '''A docstring.'''
    a, b = b, a
    a = a + 1
    b -= 1
    a %= b
    x = y = []
    x.append(a)
    x.sort()
    print(a, b)
    g(x)
    pass
    return [n * n for n in x if n > 0]
""": "Import math and re. Import everything from os. Set R to 3. Define f(a, b=2, *c). "
    "Swap a and b. Add 1 to a. Subtract 1 from b. Set a to a % b. Set x and y to []. "
    "Append a to x. Sort x in place. Print a, b. Call g(x). "
    "Return the list of n * n for each n in x where n > 0.",
    """
def f(n):
    while True:
        if n > 9:
            if n % 2:
                return 1
            else:
                n += 1
        else:
            n -= 1
            if not n: continue
        return 0
        n = 3
""": "Define f(n). Repeat: (1) if n > 9, if n % 2, return 1; otherwise, add 1 to n; "
    "but if n <= 9: (a) subtract 1 from n; (b) if not n, go on with the next; (2) return 0.",
    """
def f(n):
    if n in (1, 2):
        return True
    else:
        return False
""": "Define f(n). Return whether n in (1, 2).",
    """
class A(B):
    def f(self):
        try:
            with open('x') as file: return file.read() or 'none' if file else None
        except OSError: raise ValueError('x')
        for a, b in self: yield a
        else: del a
        assert a
""": "Define the class A as a kind of B. Define f(self). "
    "Try this: with open('x') as file: return file.read() or 'none' if file, otherwise None; "
    "on OSError, raise ValueError('x'). "
    "For each a, b in self: yield a; if that was not stopped, delete a. Require that a.",
}


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_is_told_statement_by_statement(program: str) -> None:
    assert code_trace(program) == PROGRAMS[program]


def test_text_that_is_no_program_has_no_trace() -> None:
    for text in ("", "def f(:", "\0", "# nothing", "'only a docstring'", "pass"):
        assert code_trace(text) is None


def test_any_program_has_a_trace() -> None:
    """The whole grammar, as far as a file of the standard library uses it."""
    import argparse
    import ast
    import typing

    for module in (argparse, ast, typing):
        with open(module.__file__, encoding="utf-8") as file:
            trace = code_trace(file.read())
        assert trace is not None
        assert trace.endswith(".")


TEXT = [
    "Deep networks are popular.",
    "We study the loss of linear networks.",
    "All critical points of the loss are described.",
    "The weather was fine.",
    "The landscape has no bad local minima.",
]


def test_a_summary_is_led_to_by_the_sentences_it_takes_its_words_from() -> None:
    summary = (
        "The critical points of the loss of linear networks show a landscape without bad minima."
    )
    assert summary_trace(TEXT, summary) == (
        "Key points of the text:\n"
        "- We study the loss of linear networks.\n"
        "- All critical points of the loss are described.\n"
        "- The landscape has no bad local minima.\n"
        "What to keep: critical, points, loss, linear, networks, landscape, bad, minima."
    )
    assert summary_trace(TEXT, "Cats sleep.") is None
    assert summary_trace([], summary) is None
    assert summary_trace(TEXT, "") is None
    long = summary_trace(["weather " * 100], "Weather")
    assert long is not None
    assert "weather …\nWhat to keep: weather." in long


STORY = """"Hello," said Mia. The rain fell on the town, and nobody but Mia went out.
Old Tom saw her from his window. He thought that Tom Senior would have gone too.

At the river Mia found the lost boat. She waved at Tom. The rain stopped."""


def test_a_story_is_outlined_by_its_names_and_sentences() -> None:
    assert story_trace(STORY) == (
        "Characters and places: Mia, Tom.\n"
        'Beginning: "Hello," said Mia.\n'
        "Middle: He thought that Tom Senior would have gone too.\n"
        "Ending: The rain stopped."
    )
    assert story_trace("Too short. It is.") is None
    assert story_trace("") is None


def test_a_choice_is_only_named() -> None:
    assert choice_trace("Which is hot?", ["Ice.", "Fire."], 1) == (
        "The question: Which is hot?\nThe options: A: Ice; B: Fire.\nThe one that fits is B: Fire."
    )


def test_traces_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "from reasoning_lab.data.derived_traces import *\n"
        f"print(summary_trace({TEXT!r}, 'Points, loss, networks, minima.'), story_trace({STORY!r}))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert told != {b""}
