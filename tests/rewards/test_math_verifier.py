import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reasoning_lab.rewards import math_verifier
from reasoning_lab.rewards.math_verifier import equivalent
from tests.rewards.attempts import HOSTILE


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("x = 5", "5"),
        ("5", "x=5"),
        ("\\frac12", "0.5"),
        ("x = 1/2", "0.5"),
        ("\\dfrac{-1}{2}", "-0.5"),
        ("1.2\\times10^5", "120000"),
        ("10^{-3}", "0.001"),
        ("90^\\circ", "90"),
        ("\\sqrt{8}", "2\\sqrt{2}"),
        ("$\\frac{\\sqrt{2}}{2}$", "\\frac{1}{\\sqrt{2}}"),
        ("1 + x", "x+1"),
        ("\\pi r^2", "r^2\\pi"),
        ("y = 2x + 1", "2x - y + 1 = 0"),
        ("(0.5, 3)", "(\\frac{1}{2}, 3)"),
        ("\\{2,1\\}", "\\{1,2\\}"),
        ("x \u2212 1", "-1 + x"),
    ],
)
def test_the_same_formula(given: str, expected: str) -> None:
    assert equivalent(given, expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # what math-verify would call equal
        ("70%", "70"),
        ("3:2", "3"),
        ("120k", "120"),
        ("5 miles", "5"),
        ("5 but no, 7", "7"),
        ("0.333333", "1/3"),
        ("x = 0.333333", "1/3"),
        ("4 = 5", "5"),
        ("9 + 9 + 8", "26"),  # the question itself
        ("2*13", "26"),
        ("\\sqrt{676}", "26"),
        ("x - x + 26", "26"),
        ("1+1", "\\dfrac{-4}{-2}"),
        ("5 6", "x=11"),
        ("3, 1, 2", "1, 2, 3"),
        ("dog", "god"),
        ("C B A", "A B C"),
        # what is simply different
        ("y = 5", "x = 5"),
        ("(2, 1)", "(1, 2)"),
        ("[1, 2)", "[1, 2]"),
        ("\\sqrt{3}", "\\sqrt{2}"),
        ("", "5"),
        ("5", ""),
    ],
)
def test_not_the_same(given: str, expected: str) -> None:
    assert not equivalent(given, expected)


def test_a_hostile_answer_costs_two_seconds_at_most_and_is_remembered() -> None:
    hostile = "(a+b+c+d)^{99}-(e+f+g+h)^{9}"
    for most in (2 + 5, 0.1):  # and the start of the next worker
        started = time.monotonic()
        assert not equivalent(hostile, "\\sqrt{5}")
        assert time.monotonic() - started < most
    assert equivalent("\\sqrt{20}", "2\\sqrt{5}")


def test_only_few_hostile_texts_reach_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(math_verifier, "_ask", lambda given, expected: asked.append(given))
    for text in HOSTILE:
        equivalent(text, "\\sqrt{5}")
    assert len(asked) < len(HOSTILE) / 2
    assert max(map(len, asked)) <= 100


def test_a_worker_that_died_is_replaced() -> None:
    assert equivalent("\\sqrt{12}", "2\\sqrt{3}")
    process = math_verifier._worker._process
    assert process is not None
    process.kill()
    process.wait()
    assert equivalent("\\sqrt{18}", "3\\sqrt{2}")


def test_a_worker_that_cannot_start_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "worker.py"
    broken.write_text("raise SystemExit('no math-verify here')")
    monkeypatch.setattr(math_verifier, "_WORKER", broken)
    with pytest.raises(RuntimeError, match=r"reward\.math\.verify=false"):
        math_verifier._Worker().ask("1", "1")


PROGRAM = """
import sys
from reasoning_lab.rewards import math_verifier
from reasoning_lab.rewards.math import Math
from tests.rewards.attempts import answered

assert Math().score([answered("26"), answered("27"), answered("9 + 9 + 8")]) == [1, 0.2, 0.2]
assert math_verifier._worker._process is None  # exact matching sufficed
assert math_verifier.equivalent("b+a", "a+b")
assert not {"jax", "sympy", "math_verify"} & set(sys.modules)
print(math_verifier._worker._process.pid, flush=True)
"""


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def run(program: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", *flags, str(program)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_program_without_a_main_guard_ends_cleanly(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    process = run(program, "-X", "dev")
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert not is_running(int(output))


def test_a_killed_program_leaves_no_worker(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + "import time; time.sleep(60)")
    with run(program) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        assert is_running(worker)
        process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while is_running(worker) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not is_running(worker)
