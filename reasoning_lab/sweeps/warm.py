"""Runs one after another in one process beside this one: weights and compiled steps stay warm.

The process is a child, so that a run which dies for good (out of memory, a crash in native code)
takes only itself along: the next one gets a new process.
"""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from reasoning_lab.experiment import compose
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import mark_failed
from reasoning_lab.sweeps.plan import folder_of

_SAID = "in the sweep"


class Worker:
    """A process that makes runs until it is closed or dies."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # JAX does not survive a fork
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()

    def run(self, overrides: Sequence[str]) -> str | None:
        """Make one run; what the process died of if it did.

        Raises:
            KeyboardInterrupt: Ctrl-C; the run has been saved. A second one does not wait for that.
        """
        interrupted = False
        try:
            self._connection.send(list(overrides))
            while True:
                try:
                    self._connection.recv()
                    break
                except KeyboardInterrupt:
                    interrupted = True
                    self._interrupt()
        except (EOFError, OSError):  # it died
            self._process.join()
            if not interrupted:
                return _cause_of_death(self._process.exitcode or 0)
        if interrupted:
            raise KeyboardInterrupt
        return None

    def close(self) -> None:
        self._connection.close()
        self._process.join()

    def _interrupt(self) -> None:
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGINT)


class Workshop:
    """A worker whenever there is work: the same one until it dies, then a new one."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def run_all(self, jobs: Sequence[Sequence[str]]) -> None:
        """Make runs one after another, given the overrides of each.

        Raises:
            KeyboardInterrupt: Ctrl-C; the run at hand has been saved.
        """
        for overrides in jobs:
            self._worker = self._worker or Worker()
            if cause := self._worker.run(overrides):
                self._worker = None
                folder = RunFolder.at(folder_of(overrides).path)  # not there if it died at once
                mark_failed(folder.status_path, cause, _last_lines(folder.output_path))

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def _serve(connection: Connection) -> None:
    """Make the runs that come in until the other end is closed."""
    os.setsid()  # Ctrl-C comes from the parent, once
    jobs: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
    busy, is_over = threading.Event(), threading.Event()
    arguments = (connection, jobs, busy, is_over)
    with suppress(KeyboardInterrupt, OSError):  # the parent has asked for it, or is gone
        threading.Thread(target=_receive, args=arguments, daemon=True).start()
        from reasoning_lab.sweeps import job  # imports jax

        while (overrides := jobs.get()) is not None:
            busy.set()
            if is_over.is_set():
                break
            job.run(compose(overrides, _SAID))
            busy.clear()
            connection.send("ended")


def _receive(
    connection: Connection,
    jobs: "queue.SimpleQueue[list[str] | None]",
    busy: threading.Event,
    is_over: threading.Event,
) -> None:
    """Pass runs on. Once the parent is done or dead, a run under way is saved and none begun."""
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        is_over.set()  # before busy is read, as it is read after busy is set: one sees the other
        jobs.put(None)
        if busy.is_set():
            os.kill(os.getpid(), signal.SIGINT)


def _cause_of_death(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "The process was killed (SIGKILL), as it is when the machine runs out of memory."
    if exit_code < 0:
        return f"The process died of {signal.Signals(-exit_code).name}."
    return f"The process ended with exit status {exit_code}."


def _last_lines(path: Path) -> str:
    """The end of what a run said: after a crash in native code there is no traceback."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-40:])
