import threading
import time
from dataclasses import replace

import pytest
from pydantic import ValidationError

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Example
from reasoning_lab.formats import render_completion
from reasoning_lab.rewards import code
from reasoning_lab.rewards.code import Code
from reasoning_lab.rewards.correctness import is_right
from reasoning_lab.rewards.sandbox import judge as judging
from reasoning_lab.rewards.sandbox.judge import Verdict, judge
from reasoning_lab.rewards.specs import Attempt

EXAMPLE = Example(
    "s: double",
    "s",
    "code",
    "Write double(x).",
    None,
    "def double(x):\n    return 2 * x",
    "",
    kind="code",
    tests=("assert double(2) == 4", "assert double([]) == []", "assert double(-1) == -2"),
)
RIGHT = "def double(x):\n    return x + x"
HALF_RIGHT = "def double(x):\n    return x * x"  # of three tests, one
REASONING = "To double is to add a thing to itself, which does for lists too."


def attempt(program: str, reasoning: str = REASONING, *, truncated: bool = False) -> Attempt:
    return Attempt(EXAMPLE, render_completion(reasoning, program), truncated)


def score(one: Attempt, **fields: object) -> float:
    (value,) = Code(**fields).score([one])  # type: ignore[arg-type]
    return value


def verdict(program: str, seconds: float = 5.0) -> Verdict:
    (one,) = judge([attempt(program)], seconds_per_program=seconds)
    return one


def test_the_formula() -> None:
    assert score(attempt(RIGHT)) == 1.0
    assert score(attempt(HALF_RIGHT)) == 0.2
    assert score(attempt(RIGHT, reasoning="")) == 0.8
    assert score(attempt(HALF_RIGHT, reasoning="")) == 0.0
    assert score(attempt(RIGHT), tests_weight=0.5, explanation_weight=0.25) == 0.75


def test_a_share_of_the_tests_is_credited_on_request() -> None:
    assert score(attempt(HALF_RIGHT), partial_credit=True) == pytest.approx(0.8 / 3 + 0.2)
    assert score(attempt(RIGHT), partial_credit=True) == 1.0
    slow = "def double(x):\n    while x == []: pass\n    return 2 * x"
    assert score(attempt(slow), partial_credit=True, seconds_per_program=0.5) == pytest.approx(
        0.8 / 3 + 0.2
    )


@pytest.mark.parametrize(
    "answer",
    [
        f"```python\n{RIGHT}\n```",
        f"```py\n{RIGHT}\n```",
        f"```Python \n{RIGHT}```",
        f"\n```\n{RIGHT}\n```\n",
        f"\n{RIGHT}\n",
    ],
)
def test_a_fence_round_the_program_is_taken_away(answer: str) -> None:
    assert score(attempt(answer)) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        f"Here it is:\n```python\n{RIGHT}\n```",
        f"```python\n{RIGHT}",
        f"```\nx\n```\n```\n{RIGHT}\n```",
    ],
)
def test_anything_else_round_the_program_is_no_program(answer: str) -> None:
    assert score(attempt(answer)) == 0.2


def test_a_truncated_completion_does_not_pass() -> None:
    assert score(attempt(RIGHT, truncated=True)) == 0.2


def test_of_two_programs_none_passes() -> None:
    twice = render_completion(REASONING, RIGHT) + f"<answer>{RIGHT}</answer>"
    assert score(Attempt(EXAMPLE, twice, False)) == 0.2


@pytest.mark.parametrize(
    ("chars", "explained"), [(0, 0), (20, 0), (21, 1), (1199, 1), (1200, 0), (1201, 0)]
)
def test_an_explanation_must_be_longer_than_the_one_and_shorter_than_the_other(
    chars: int, explained: int
) -> None:
    assert score(attempt("", reasoning="x" * chars)) == 0.2 * explained


def test_the_program_is_no_explanation_of_itself() -> None:
    assert score(attempt(RIGHT, reasoning=RIGHT)) == 0.8
    indented = "\n\n".join(f"  {line}" for line in RIGHT.splitlines())
    assert score(attempt(RIGHT, reasoning=indented)) == 0.8
    assert score(attempt(f"```python\n{RIGHT}\n```", reasoning=RIGHT)) == 0.8
    assert score(attempt(RIGHT, reasoning=f"{REASONING}\n{RIGHT}")) == 1.0


def test_each_program_has_its_verdict() -> None:
    assert verdict(RIGHT) == Verdict("passed", 3, 3)
    assert verdict(HALF_RIGHT) == Verdict("wrong", 1, 3)
    assert verdict("def double(x): return x.twice()") == Verdict("error", 0, 3)
    assert verdict("def double(x") == Verdict("error", 0, 3)
    assert verdict("while True: pass", 0.3) == Verdict("timeout", 0, 3)
    assert verdict("x = bytearray(2**40)") == Verdict("killed", 0, 3)
    assert verdict("import os\nos.abort()") == Verdict("killed", 0, 3)
    assert verdict(" ") == Verdict("no_program", 0, 3)


def test_every_attempt_has_its_score_in_order() -> None:
    attempts = [attempt(RIGHT), attempt(HALF_RIGHT), attempt(""), attempt(RIGHT)]
    assert Code().score(attempts) == [1.0, 0.2, 0.2, 1.0]
    assert Code().score([]) == []


def test_the_same_program_runs_once_for_the_same_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    run_program = judging.run_program

    def counted(program: str, *args: object, **fields: object) -> object:
        runs.append(program)
        return run_program(program, *args, **fields)  # type: ignore[arg-type]

    monkeypatch.setattr(judging, "run_program", counted)
    monkeypatch.setattr(judging, "_remembered", {})
    other = replace(EXAMPLE, tests=("assert double(2) == 5",))
    attempts = [attempt(RIGHT), attempt(f"```\n{RIGHT}\n```", reasoning="x"), attempt(HALF_RIGHT)]
    attempts.append(replace(attempts[0], example=other))
    assert Code().score(attempts) == [1.0, 0.8, 0.2, 0.2]
    assert sorted(runs) == sorted([RIGHT, RIGHT, HALF_RIGHT])
    assert is_right(attempts) == [True, True, False, False]
    assert len(runs) == 3  # statistics ask about the same programs


def test_verdicts_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_REMEMBERED", 2)
    Code().score([attempt(f"{RIGHT}\n# {i}") for i in range(4)])
    assert [program[-1] for program, _, _ in judging._remembered] == ["2", "3"]


def test_slow_programs_do_not_hold_up_one_another() -> None:
    sleepers = [attempt(f"import time\ntime.sleep(99)  # {i}") for i in range(4)]
    started = time.monotonic()
    assert Code(seconds_per_program=0.5).score([*sleepers, attempt(RIGHT)])[-1] == 1.0
    assert time.monotonic() - started < 10


def test_it_runs_in_a_thread() -> None:
    scores: list[float] = []
    thread = threading.Thread(target=lambda: scores.extend(Code().score([attempt(RIGHT)])))
    thread.start()
    thread.join()
    assert scores == [1.0]


def test_a_problem_without_tests_is_told() -> None:
    sums = replace(EXAMPLE, kind="exact", domain="sums", tests=())
    with pytest.raises(ConfigError, match=r"'sums'.*reward\.code\.domains=\[code\]"):
        Code().score([Attempt(sums, "", False)])
    with pytest.raises(ConfigError, match=r"data\.sources\.s: .*'s: double'.*there are no tests"):
        Code().score([Attempt(replace(EXAMPLE, tests=()), "", False)])
    printing = replace(EXAMPLE, tests=("print(double(2))",))
    with pytest.raises(ConfigError, match=r"only assertions and imports.*print\(double\(2\)\)"):
        Code().score([Attempt(printing, "", False)])


def test_prepare_runs_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    Code().prepare("code")

    def broken() -> str:
        raise ConfigError("bubblewrap does not work here.")

    monkeypatch.setattr(code, "working_bwrap", broken)
    with pytest.raises(ConfigError, match=r"reward\.mine: bubblewrap does not work") as caught:
        Code().prepare("mine")
    assert caught.value.keys == ("reward.mine",)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"min_chars": 1200}, "leave room"),
        ({"max_chars": 20}, "leave room"),
        ({"tests_weight": 1.5}, "tests_weight"),
        ({"tests_weight": 0.0, "explanation_weight": 0.0}, "not both be 0"),
        ({"seconds_per_program": 0.0}, "seconds_per_program"),
    ],
)
def test_fields_have_bounds(fields: dict[str, float], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Code(**fields)  # type: ignore[arg-type]
