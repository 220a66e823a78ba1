"""One program in the sandbox, watched from outside: when it is killed, and how much it may say."""

import fcntl
import marshal
import math
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import wait
from threading import Lock
from typing import Literal

from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.rewards.sandbox import bubblewrap
from reasoning_lab.rewards.sandbox.system_calls import filter_program
from reasoning_lab.rewards.sandbox.values import read_value

_READY = b"ready"  # as in inside.py
_START_SECONDS = 60.0
_MEMORY_BYTES = 512 * 1024**2
_RESULT_BYTES = 512 * 1024  # of all results together
_READ_BYTES = _RESULT_BYTES + 64 * 1024  # with room for errors; more than that is a flood
_KILLED = 128  # bwrap adds the signal to it


@dataclass(frozen=True)
class Ran:
    """What came out of a program.

    lines: one for each call that came to an end, in order, not yet read (see values.py).
    end: "complete" if there is a line for each call; else why there is not: it took too long, it
        was killed by a signal or for saying too much, or it ended by itself.
    """

    lines: tuple[bytes, ...]
    end: Literal["complete", "timeout", "killed", "ended"]


def run_program(
    program: str, calls: Sequence[str], *, setup: str = "", seconds: float, bwrap: str
) -> Ran:
    """Run a program, then `setup`, then evaluate each call, all in a sandbox of their own.

    `seconds` of wall-clock time count from when the interpreter is up, so that a busy machine is
    not held against the program.

    Raises:
        RunError: the sandbox itself did not start.
    """
    limits = (math.ceil(seconds) + 1, _MEMORY_BYTES, _RESULT_BYTES)
    payload = marshal.dumps((program, setup, list(calls), *limits))
    with _sealed(payload) as stdin, _sealed(_filter()) as filter_descriptor:
        process = subprocess.Popen(
            bubblewrap.command_line(bwrap, filter_descriptor),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # of bwrap alone: inside.py closes its own
            pass_fds=[filter_descriptor],
            env={},
            start_new_session=True,  # Ctrl-C in the terminal is for us
        )
    with process:
        try:
            return _watch(process, len(calls), seconds)
        finally:
            # With bwrap dies the first process in there, and with that one all others.
            process.kill()


@cache
def working_bwrap() -> str:
    """A bwrap that has just run a program.

    Raises:
        ConfigError: there is none.
    """
    with _checking:
        problems = []
        for bwrap in bubblewrap.installed():
            try:
                ran = run_program("def f(): return 6 * 7", ["f()"], seconds=10, bwrap=bwrap)
            except RunError as error:
                problems.append(str(error))
                continue
            if [read_value(line) for line in ran.lines] == [42]:
                return bwrap
            problems.append(f"{bwrap}: a trivial program did not run ({ran.end}).")
        raise ConfigError(
            f"bubblewrap does not work here. {' '.join(problems)} {bubblewrap.REMEDY}"
        )


_checking = Lock()


@cache
def _filter() -> bytes:
    return filter_program()


@contextmanager
def _sealed(content: bytes) -> Iterator[int]:
    """A file in memory that nobody can change, as a descriptor at its beginning."""
    descriptor = os.memfd_create("sandbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield descriptor
    finally:
        os.close(descriptor)


def _watch(process: subprocess.Popen[bytes], calls: int, seconds: float) -> Ran:
    output = _Output(process)
    if not output.read_lines(1, time.monotonic() + _START_SECONDS) or output.lines(1) != [_READY]:
        raise RunError(f"the sandbox did not start: {_last_words(process)}")
    deadline = time.monotonic() + seconds
    finished = output.read_lines(1 + calls, deadline)
    lines = tuple(output.lines(1 + calls)[1:])
    if finished:
        return Ran(lines, "complete")
    if output.size > _READ_BYTES:
        return Ran(lines, "killed")
    try:  # it closed its end of the pipe, which is not yet to end
        code = process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return Ran(lines, "timeout")
    return Ran(lines, "killed" if code > _KILLED or code < 0 else "ended")


class _Output:
    """What a process writes, read up to a number of lines, a deadline or too many bytes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._descriptor = process.stdout.fileno()
        self._pieces: list[bytes] = []
        self._ends = 0
        self.size = 0

    def read_lines(self, count: int, deadline: float) -> bool:
        """Whether there are that many lines in time."""
        while self._ends < count:
            left = deadline - time.monotonic()
            if left <= 0 or self.size > _READ_BYTES or not wait([self._descriptor], left):
                return False
            piece = os.read(self._descriptor, 65536)
            if not piece:
                return False
            self._pieces.append(piece)
            self._ends += piece.count(b"\n")
            self.size += len(piece)
        return True

    def lines(self, count: int) -> list[bytes]:
        """The whole lines so far, at most `count` of them."""
        return b"".join(self._pieces).split(b"\n")[:-1][:count]


def _last_words(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    process.wait()
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    said = process.stderr.read() or b""
    return said[-500:].decode("utf-8", "replace").strip() or "no reason given."
