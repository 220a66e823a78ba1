"""Whether programs pass their tests: a batch of attempts in parallel, each in its own sandbox."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Literal

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Example
from reasoning_lab.formats import parse
from reasoning_lab.rewards.sandbox.assertions import Tests, UnsupportedTestError, read_tests
from reasoning_lab.rewards.sandbox.run import Ran, run_program, working_bwrap
from reasoning_lab.rewards.sandbox.values import UnreadableError, Value, read_value
from reasoning_lab.rewards.specs import Attempt

SECONDS = 3.0
"""Wall-clock time for all tests of a program, if nothing else is said."""

_REMEMBERED = 4096  # programs whose verdicts are kept
_FENCE = "```"
_FENCE_STARTS = (_FENCE, "```python", "```py")

Outcome = Literal["passed", "wrong", "error", "timeout", "killed", "no_program"]


@dataclass(frozen=True)
class Verdict:
    """What became of one program.

    outcome: "passed" every test. "wrong": some value is not the one asked for. "error": the program
        or a call raised, ended the process, or returned what is no plain value. "timeout": it took
        too long. "killed": it took too much memory, said too much, or crashed. "no_program": the
        completion has no answer part, an empty one, or is truncated. Of several, the first that
        applies in the order passed, timeout, killed, wrong, error.
    passed: tests passed, of `tests`.
    """

    outcome: Outcome
    passed: int
    tests: int


def program_of(attempt: Attempt) -> str | None:
    """The program in the answer part, without a ``` fence round it.

    None if there is none, or the completion is truncated.
    """
    answer = parse(attempt.completion).answer
    if attempt.truncated or not answer:
        return None
    first, _, rest = answer.partition("\n")
    fenced = first.strip().casefold() in _FENCE_STARTS and rest.rstrip().endswith(_FENCE)
    return rest.rstrip().removesuffix(_FENCE).rstrip() if fenced else answer


def check_tests(examples: Iterable[Example]) -> None:
    """Find out, before any program is there, whether programs for the examples can be judged.

    Raises:
        ConfigError: bubblewrap does not work here, or an example has no tests that can be judged.
    """
    if [_tests_of(example) for example in examples]:
        working_bwrap()


def judge(attempts: Sequence[Attempt], *, seconds_per_program: float) -> list[Verdict]:
    """A verdict for each attempt, in order; the same program for the same tests runs once.

    Verdicts are remembered: rewards and statistics ask about the same programs.
    `seconds_per_program` is the wall-clock time that a program has for all its tests.

    Raises:
        ConfigError: bubblewrap does not work here, or an example has no tests that can be judged.
        RunError: a sandbox did not start.
    """
    tests = [_tests_of(attempt.example) for attempt in attempts]
    programs = [program_of(attempt) for attempt in attempts]
    tasks = {
        (program, asked, seconds_per_program): None
        for program, asked in zip(programs, tests, strict=True)
        if program is not None
    }
    verdicts = {task: verdict for task in tasks if (verdict := _remembered.get(task))}
    fresh = [task for task in tasks if task not in verdicts]
    if fresh:
        bwrap = working_bwrap()
        # Its threads do not keep an interrupted run from ending, and programs end with them.
        with ThreadPool(len(os.sched_getaffinity(0))) as pool:
            verdicts |= zip(fresh, pool.map(partial(_run, bwrap), fresh, chunksize=1), strict=True)
        for task in fresh:
            _remembered[task] = verdicts[task]
        for task in list(_remembered)[:-_REMEMBERED]:  # the oldest
            _remembered.pop(task, None)
    return [
        Verdict("no_program", 0, len(asked.assertions))
        if program is None
        else verdicts[program, asked, seconds_per_program]
        for program, asked in zip(programs, tests, strict=True)
    ]


_Task = tuple[str, Tests, float]
_remembered: dict[_Task, Verdict] = {}


def _run(bwrap: str, task: _Task) -> Verdict:
    program, tests, seconds = task
    calls = [call for assertion in tests.assertions for call in assertion.calls]
    return _verdict(
        tests, run_program(program, calls, setup=tests.setup, seconds=seconds, bwrap=bwrap)
    )


def _tests_of(example: Example) -> Tests:
    if example.kind != "code":
        raise ConfigError(
            f"a problem of the domain {example.domain!r} is not about code and has no tests "
            f"({example.id!r}). Keep the code reward to the domains that are, as in "
            "reward.code.domains=[code]",
            keys=["reward.code.domains"],
        )
    try:
        return read_tests(example.tests, example.setup)
    except UnsupportedTestError as error:
        raise ConfigError(
            f"data.sources.{example.source}: the tests of {example.id!r} cannot be used: {error}"
        ) from error


def _verdict(tests: Tests, ran: Ran) -> Verdict:
    passed = 0
    wrong = False
    out_of_memory = False
    lines = iter(ran.lines)
    for assertion in tests.assertions:
        values: list[Value] = []
        for line in [next(lines, None) for _ in assertion.calls]:
            try:
                values += [] if line is None else [read_value(line)]
            except UnreadableError as error:
                out_of_memory |= error.told == "MemoryError"
        if len(values) == len(assertion.calls):
            holds = assertion.holds(values)
            passed += holds
            wrong |= not holds
    total = len(tests.assertions)
    return Verdict(_outcome(passed == total, wrong, out_of_memory, ran), passed, total)


def _outcome(passed: bool, wrong: bool, out_of_memory: bool, ran: Ran) -> Outcome:
    if passed:
        return "passed"
    if ran.end == "timeout":
        return "timeout"
    if ran.end == "killed" or out_of_memory:
        return "killed"
    return "wrong" if wrong else "error"
