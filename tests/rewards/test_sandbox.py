"""What programs can do in the sandbox, which is: run, and return values."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Example
from reasoning_lab.formats import render_completion
from reasoning_lab.rewards.sandbox import bubblewrap, system_calls
from reasoning_lab.rewards.sandbox.judge import judge
from reasoning_lab.rewards.sandbox.run import run_program, working_bwrap
from reasoning_lab.rewards.sandbox.values import UnreadableError, read_value
from reasoning_lab.rewards.specs import Attempt
from tests.rewards import hostile_programs as hostile

SECRET = "the canary sings"
HONEST = "def f(x):\n    return ['KUMQUAT-7731', 'KUMQUAT-8842'][x - 1]"


class Host:
    """What is to stay as it is: a file, a device, a port that listens, a process, a secret."""

    def __init__(self, folder: Path) -> None:
        self.canary = folder / "canary.txt"
        self.canary.write_text(SECRET, "utf-8")
        self.device_mode = Path(os.devnull).stat().st_mode
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def fill_in(self, program: str) -> str:
        return (
            program.replace(hostile.CANARY, str(self.canary))
            .replace(hostile.PORT, str(self.listener.getsockname()[1]))
            .replace(hostile.PID, str(self.process.pid))
        )

    def assert_untouched(self) -> None:
        assert self.canary.read_text("utf-8") == SECRET
        assert list(self.canary.parent.iterdir()) == [self.canary]
        with pytest.raises(BlockingIOError):
            self.listener.accept()
        assert self.process.poll() is None
        assert Path(os.devnull).stat().st_mode == self.device_mode

    def close(self) -> None:
        self.listener.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    os.environ["SANDBOX_SECRET"] = SECRET
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()
    del os.environ["SANDBOX_SECRET"]


def attempt(program: str) -> Attempt:
    example = Example("1", "s", "code", "?", None, "", "", kind="code", tests=hostile.TESTS)
    return Attempt(example, render_completion("x", program), False)


def outcome(program: str, seconds: float = 1.0) -> str:
    (verdict,) = judge([attempt(program)], seconds_per_program=seconds)
    return verdict.outcome


@pytest.mark.parametrize("one", hostile.HOSTILE_PROGRAMS, ids=str)
def test_a_hostile_program_neither_passes_nor_gets_out(one: hostile.Hostile, host: Host) -> None:
    program = host.fill_in(one.program)

    started = time.monotonic()
    assert outcome(program) in one.outcomes
    assert time.monotonic() - started < 5

    if one.says:
        calls = ["f(1)", "f(2)"]
        ran = run_program(program, calls, seconds=5, bwrap=working_bwrap())
        assert len(ran.lines) == 2
        assert {read_value(line) for line in ran.lines} <= {*one.says}
    host.assert_untouched()

    started = time.monotonic()
    assert outcome(HONEST) == "passed"
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("name", ["looks through all objects", "looks through the frames"])
def test_a_search_finds_what_is_in_the_sandbox(name: str) -> None:
    (program,) = (one.program for one in hostile.SEARCHES if one.name == name)
    calls = ["f(1 + 0 * len('KUMQUAT-1111'))"]
    (line,) = run_program(program, calls, seconds=5, bwrap=working_bwrap()).lines
    assert read_value(line) == "KUMQUAT-1111"


def test_there_are_many_hostile_programs_each_of_its_own_name() -> None:
    names = [one.name for one in hostile.HOSTILE_PROGRAMS]
    assert len(names) >= 40
    assert len(set(names)) == len(names)


RUN = """
from reasoning_lab.rewards.sandbox.run import run_program, working_bwrap

program = "import ctypes\\nctypes.CDLL(None).prctl(15, b'{name}')\\nwhile True: pass"
print("started", flush=True)
print(run_program(program, ["f()"], seconds={seconds}, bwrap=working_bwrap()).end, flush=True)
"""


def running(name: str) -> bool:
    """Whether there is a process of that name, in any namespace."""
    for file in Path("/proc").glob("[0-9]*/comm"):
        try:
            if file.read_text().strip() == name:
                return True
        except OSError:  # it has just ended
            continue
    return False


def wait_until(name: str, *, runs: bool) -> None:
    deadline = time.monotonic() + 20
    while running(name) != runs:
        assert time.monotonic() < deadline, f"{name} {'does not run' if runs else 'still runs'}"
        time.sleep(0.02)


@pytest.mark.parametrize("killed", [False, True], ids=["too slow", "we are killed"])
def test_nothing_is_left_running(killed: bool) -> None:
    name = f"kumquat{os.getpid() % 10**7}{'k' if killed else 's'}"
    script = RUN.format(name=name, seconds=60 if killed else 2)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as us:
        wait_until(name, runs=True)
        if killed:
            us.kill()
        wait_until(name, runs=False)
        assert us.communicate()[0] == ("started\n" if killed else "started\ntimeout\n")


def test_an_interrupted_batch_ends_at_once() -> None:
    script = """
import signal
from tests.rewards.test_sandbox import attempt
from reasoning_lab.rewards.sandbox.judge import judge

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
print("started", flush=True)
judge([attempt(f"while True: pass  # {i}") for i in range(40)], seconds_per_program=30)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as us:
        assert us.stdout is not None
        assert us.stdout.readline() == "started\n"
        time.sleep(1)
        us.send_signal(signal.SIGINT)
        try:
            assert "KeyboardInterrupt" in us.communicate(timeout=20)[1]
        finally:
            us.kill()


def test_a_program_may_use_the_standard_library_and_its_folder() -> None:
    program = """
import collections, dataclasses, decimal, fractions, functools, heapq, itertools, json, math
import random, re, statistics, string, sys, typing

@dataclasses.dataclass
class Point:
    x: "int"

def f(x):
    with open("/tmp/mine", "w") as file:
        file.write(str(x))
    return json.loads(open("mine").read()) + Point(x).x + len(collections.Counter("aab"))

if __name__ == "__main__":
    print(f(int(input())))
"""
    ran = run_program(program, ["f(20)", "f(g)"], setup="g = 1", seconds=5, bwrap=working_bwrap())
    assert ran.end == "complete"
    assert [read_value(line) for line in ran.lines] == [42, 4]


def test_values_come_back_as_they_are() -> None:
    values = [
        *(None, True, False, 0, -1, 10**300, 0.1, -0.0, float("inf"), 1e-320, 2 - 1j),
        *("", 'é\n"\\\x00', "\ud800", b"", b"\xff", [], (), set(), frozenset(), {}),
        [1, [2.0, ("3", {4, (5,)}), {"k": None, 6: frozenset({7})}]],
    ]
    calls = [repr(value).replace("inf", "float('inf')") for value in values]
    ran = run_program("", calls, seconds=5, bwrap=working_bwrap())
    came = [read_value(line) for line in ran.lines]
    assert [(type(value), repr(value)) for value in came] == [
        (type(value), repr(value)) for value in values
    ]


def test_dictionaries_of_the_standard_library_come_back_as_plain_ones() -> None:
    program = "from collections import *"
    calls = ["Counter('aab')", "OrderedDict(a=1)", "defaultdict(int, a=1)"]
    ran = run_program(program, calls, seconds=5, bwrap=working_bwrap())
    came = [read_value(line) for line in ran.lines]
    assert came == [{"a": 2, "b": 1}, {"a": 1}, {"a": 1}]
    assert {type(value) for value in came} == {dict}


def test_a_later_call_does_not_change_an_earlier_result() -> None:
    program = "kept = []\ndef f(x):\n    kept.append(x)\n    return kept"
    ran = run_program(program, ["f(1)", "f(2)"], seconds=5, bwrap=working_bwrap())
    assert [read_value(line) for line in ran.lines] == [[1], [1, 2]]


def test_an_exception_is_told_by_its_name_and_ends_nothing() -> None:
    ran = run_program("def f(x): return 1 // x", ["f(0)", "f(1)"], seconds=5, bwrap=working_bwrap())
    with pytest.raises(UnreadableError, match="ZeroDivisionError"):
        read_value(ran.lines[0])
    assert read_value(ran.lines[1]) == 1


def test_the_same_program_says_the_same_each_time() -> None:
    calls = ["list({'a', 'b', 'c', 'd', 'e'})"]
    assert len({run_program("", calls, seconds=5, bwrap=working_bwrap()).lines for _ in "abc"}) == 1


def test_a_large_program_and_large_results_come_through() -> None:
    program = "x = 1\n" * 50_000 + "def f(n): return 'x' * n"
    ran = run_program(program, ["f(100_000)"] * 2, seconds=5, bwrap=working_bwrap())
    assert [len(read_value(line)) for line in ran.lines] == [100_000] * 2


def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda name: None)
    monkeypatch.setattr(bubblewrap, "_from_wheel", lambda: None)
    with pytest.raises(ConfigError, match=r"is missing.*apt install bubblewrap"):
        working_bwrap.__wrapped__()


def test_a_bubblewrap_that_does_not_work_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fakes = []
    for name, action in (
        ("refused", "echo 'No permissions to create new namespace' >&2; exit 1"),
        (
            "bare",
            'while [ "$1" != "--" ]; do shift; done; shift; echo ready; echo \'["int","29"]\'',
        ),
    ):
        fake = tmp_path / name
        fake.write_text(f"#!/bin/sh\n{action}\n", "utf-8")
        fake.chmod(0o755)
        fakes.append(str(fake))
    monkeypatch.setattr(bubblewrap, "installed", lambda: fakes)
    with pytest.raises(ConfigError) as caught:
        working_bwrap.__wrapped__()
    for told in ("No permissions to create new namespace", "bare: ", "apt install", "userns"):
        assert told in str(caught.value)


def test_another_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_calls.platform, "machine", lambda: "riscv64")
    with pytest.raises(ConfigError, match=r"riscv64.*x86_64 and aarch64"):
        system_calls.filter_program()
