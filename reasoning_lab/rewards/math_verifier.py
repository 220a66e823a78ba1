r"""Whether two formulas are equal, asked of math-verify in a process that can be killed.

math-verify (https://github.com/huggingface/Math-Verify) reads LaTeX with antlr and compares with
sympy. It knows that \frac{\sqrt{2}}{2} is \frac{1}{\sqrt{2}}, but it also takes 70% for 70, 3:2 for
3, "5 but no, 7" for 7 and 9 + 9 for 18, and needs for ever for 9^{9^{9^9}}. So it is asked only
about short formulas, of which no answer to be computed is left in place of a number.
"""

import atexit
import json
import re
import subprocess
import sys
from functools import lru_cache
from math import prod
from multiprocessing.connection import wait
from pathlib import Path
from threading import Lock

from reasoning_lab.answers import is_number, plain

_WORKER = Path(__file__).with_name("math_verify_worker.py")
_READY, _YES, _NO = b"r", b"1", b"0"  # as in the worker, which needs math-verify to be imported
_START_SECONDS = 60.0
_ANSWER_SECONDS = 2.0  # usually 5 to 100 ms

_MAX_CHARS = 100
_MAX_POWER = 1000  # all exponents multiplied, as in ((9^{99})^{99})^{99}

_COMMANDS = (
    "frac dfrac tfrac sqrt pi theta alpha beta infty cdot times div pm cup left right "
    "ln log sin cos tan le ge leq geq"
)
# Letters stand alone: words are no formula. Numbers do not follow one another, which math-verify
# would add up: 5 6, 5{6} and 5(6) are 11 to it. Exponents have two digits at most.
_FORMULA = re.compile(
    rf"""(?:
    \\(?:{_COMMANDS.replace(" ", "|")})(?![A-Za-z])\ ? | \\[{{}}]
    | [A-Za-z](?![A-Za-z])
    | [0-9]{{1,12}}(?!\ ?(?:\\left)?[({{]*[0-9]) | \.(?=[0-9])
    | \^(?:[0-9]{{1,2}}(?![0-9]) | [A-Za-z] | \\circ | {{\\circ}}
        | {{(?:[-+/A-Za-z ]|[0-9]{{1,2}}(?![0-9])){{1,8}}}})
    | [-+*/=<>()\[\]{{}},|]
    | \ (?![A-Za-z0-9]) | (?<![A-Za-z0-9])[ ]
    )+""",
    re.VERBOSE,
)
_EXPONENT = re.compile(r"\^\{?-?([0-9]+)")
_DECIMAL = r"[0-9]+(?:\.[0-9]+)?"
_POWER_OF_TEN = r"10\^(?:[0-9]|\{-?[0-9]{1,2}\})"
_WRITTEN_NUMBER = re.compile(
    rf"(?:[A-Za-z] ?= ?)?[-+]? ?"
    rf"(?:[0-9]*\\[dt]?frac(?:[0-9]{{2}}|\{{-?[0-9]+\}}\{{-?[0-9]+\}})"
    rf"|[0-9]+/[0-9]+|{_POWER_OF_TEN}|{_DECIMAL}(?: ?(?:\\times|\\cdot|\*) ?{_POWER_OF_TEN})?)"
    r"(?: ?\^(?:\\circ|\{\\circ\}))?"
)


def equivalent(given: str, expected: str) -> bool:
    r"""Whether `given` says the same as `expected` in another way, as far as math-verify can tell.

    Meant for what `answers.answers_match` calls different. Two numbers that it can read for sure
    stay different. If the expected answer is a number, the given one must be written as a number
    too (x = 5, \frac12, 2\times10^3), not as a sum that comes to it. For other formulas, any
    equal formula will do, the question itself included.

    Never raises for any text, and takes at most two seconds and the time to start the worker anew.

    Raises:
        RuntimeError: the worker does not start.
    """
    given, expected = plain(given), plain(expected)
    if not (_is_short_formula(given) and _is_short_formula(expected)):
        return False
    if is_number(given) and is_number(expected):
        return False
    wants_number = is_number(expected) or _WRITTEN_NUMBER.fullmatch(expected)
    if wants_number and not _WRITTEN_NUMBER.fullmatch(given):
        return False
    return _ask(given, expected)


def _is_short_formula(text: str) -> bool:
    return (
        len(text) <= _MAX_CHARS
        and _FORMULA.fullmatch(text) is not None
        and prod(map(int, _EXPONENT.findall(text))) <= _MAX_POWER
        and not _has_bare_comma(text)
    )


def _has_bare_comma(text: str) -> bool:
    """A comma outside of brackets. math-verify takes 3,1,2 for a set, in which order is nothing."""
    depth = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth <= 0:
            return True
    return False


@lru_cache(maxsize=10_000)
def _ask(given: str, expected: str) -> bool:
    return _worker.ask(given, expected)


class _Worker:
    """The process, started when first needed and again after it was killed or died.

    Not one of `multiprocessing`, which would run the main program's imports in it.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()  # one question at a time

    def ask(self, given: str, expected: str) -> bool:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self.stop()
                self._process = self._start()
            try:
                reply = _converse(self._process, json.dumps([given, expected]), _ANSWER_SECONDS)
            except BaseException:  # Ctrl-C: the answer on its way is not that of the next question
                self.stop()
                raise
            if reply not in (_YES, _NO):  # too slow, or dead
                self.stop()
            return reply == _YES

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            # -P: else rewards/math.py would stand before Python's own math.
            [sys.executable, "-P", "-W", "ignore", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is for us
        )
        self._process = process
        if _read(process, _START_SECONDS) != _READY:
            self.stop()
            raise RuntimeError(
                f"math-verify did not start within {_START_SECONDS:g} s: "
                f"{sys.executable} {_WORKER} says why. Without it: reward.math.verify=false."
            )
        return process

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with process:  # closes the pipes and waits
                process.kill()


def _converse(process: subprocess.Popen[bytes], line: str, seconds: float) -> bytes:
    """One byte in reply to a line, or none."""
    assert process.stdin is not None
    try:
        process.stdin.write(line.encode() + b"\n")
    except BrokenPipeError:
        return b""
    return _read(process, seconds)


def _read(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """One byte, or none if it does not come in time or the process has ended."""
    assert process.stdout is not None
    return process.stdout.read(1) if wait([process.stdout.fileno()], seconds) else b""


_worker = _Worker()
atexit.register(_worker.stop)
