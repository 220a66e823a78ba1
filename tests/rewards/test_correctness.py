from dataclasses import replace

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Example
from reasoning_lab.formats import render_completion
from reasoning_lab.rewards.correctness import is_right, prepare
from reasoning_lab.rewards.sandbox import judge as judging
from reasoning_lab.rewards.specs import Attempt

EXACT = Example("1", "s", "sums", "?", None, "26", "")
CHOICE = replace(EXACT, kind="choice", options=("the Sun", "the Moon"), answer="B: the Moon")
CODE = replace(EXACT, kind="code", tests=("assert f(1) == 2", "assert f(2) == 3"))
OPEN = replace(EXACT, kind="open", answer="")


def attempt(example: Example, answer: str, *, truncated: bool = False) -> Attempt:
    return Attempt(example, render_completion("9 + 9 + 8", answer), truncated)


def test_each_kind_is_judged_in_its_way_and_in_order() -> None:
    attempts = [
        attempt(CODE, "def f(x): return x + 1"),
        attempt(EXACT, "26.0"),
        attempt(OPEN, "Once upon a time"),
        attempt(CHOICE, "(b)"),
        attempt(CODE, "def f(x): return 2"),
        attempt(EXACT, "27"),
        attempt(CHOICE, "A or B"),
        attempt(CODE, "```python\nf = lambda x: x + 1\n```"),
    ]
    assert is_right(attempts) == [True, True, None, True, False, False, False, True]
    assert is_right([]) == []


@pytest.mark.parametrize(
    ("example", "answer"),
    [(EXACT, "26"), (CHOICE, "B"), (CODE, "def f(x): return x + 1")],
    ids=["exact", "choice", "code"],
)
def test_a_right_answer_must_be_the_only_one_and_not_cut_off(example: Example, answer: str) -> None:
    whole = attempt(example, answer)
    twice = replace(whole, completion=whole.completion + f"<answer>{answer}</answer>")
    none = replace(whole, completion=answer)
    cut = replace(whole, truncated=True)
    assert is_right([whole, twice, none, cut]) == [True, False, False, False]


def test_a_slow_program_is_not_right() -> None:
    slow = attempt(CODE, "import time\ndef f(x):\n    time.sleep(1)\n    return x + 1")
    assert is_right([slow], seconds_per_program=0.3) == [False]
    assert is_right([slow], seconds_per_program=10) == [True]


def test_without_a_sandbox_programs_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise ConfigError("apt install bubblewrap")

    monkeypatch.setattr(judging, "working_bwrap", broken)
    monkeypatch.setattr(judging, "_remembered", {})
    assert is_right([attempt(EXACT, "26")]) == [True]
    with pytest.raises(ConfigError, match="apt install bubblewrap"):
        is_right([attempt(EXACT, "26"), attempt(CODE, "def f(x): return x + 1")])


def test_what_cannot_be_judged_is_said_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare([CODE, EXACT, OPEN])
    with pytest.raises(ConfigError, match=r"the tests of .* cannot be used"):
        prepare([replace(CODE, tests=("assert f(1).startswith('a')",))])

    def broken() -> str:
        raise ConfigError("apt install bubblewrap")

    monkeypatch.setattr(judging, "working_bwrap", broken)
    prepare([EXACT, OPEN])
    with pytest.raises(ConfigError, match="apt install bubblewrap"):
        prepare([EXACT, CODE])
