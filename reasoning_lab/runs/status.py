"""status.json: what a run is doing now, or how it ended; true even after a kill -9."""

import json
import os
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from reasoning_lab.config import ConfigError
from reasoning_lab.runs.files import write_atomically

State = Literal["running", "done", "failed", "interrupted", "paused", "killed"]

_SECONDS_BETWEEN_WRITES = 1.0


class Paused(BaseException):
    """Ends a run before its last step because that is what was asked for."""


@dataclass(frozen=True)
class Status:
    """The latest attempt at a run; a resumed run starts a new attempt.

    Times are ISO 8601 in UTC, durations in seconds. "killed" is never written: it is how a
    "running" whose process is gone is read.
    """

    state: State
    started: str
    ended: str | None
    seconds: float
    step: int
    max_steps: int | None
    host: str
    pid: int
    process_start: int | None
    error: str | None = None
    traceback: str | None = None


class StatusWriter:
    """Keeps status.json up to date from inside a run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = time.monotonic()
        self._written = -_SECONDS_BETWEEN_WRITES
        self._status = Status(
            state="running",
            started=_now(),
            ended=None,
            seconds=0.0,
            step=0,
            max_steps=None,
            host=socket.gethostname(),
            pid=os.getpid(),
            process_start=_process_start(os.getpid()),
        )
        self._write()

    def update(self, step: int, max_steps: int | None = None) -> None:
        """Record the number of finished steps; reaches the file at most once a second."""
        self._status = replace(
            self._status, step=step, max_steps=max_steps or self._status.max_steps
        )
        if time.monotonic() - self._written >= _SECONDS_BETWEEN_WRITES:
            self._write()

    def end(self, state: State, error: BaseException | None = None) -> None:
        """Record how the run ended, with the traceback of `error`."""
        self._status = replace(self._status, state=state, ended=_now())
        if error is not None:
            self._status = replace(
                self._status,
                error=f"{type(error).__name__}: {error}",
                traceback="".join(traceback.format_exception(error)),
            )
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        self._status = replace(self._status, seconds=round(self._written - self._begun, 1))
        write_atomically(self._path, json.dumps(asdict(self._status), indent=2) + "\n")


@contextmanager
def recording_status(path: Path) -> Iterator[StatusWriter]:
    """Write status.json at `path` while the block runs, and how it ended; errors pass through.

    Raises:
        ConfigError: another live process of this machine is at work in the run.
    """
    if path.exists() and (other := read_status(path)).state == "running" and _is_here(other):
        raise ConfigError(
            f"{path.parent} is being written by process {other.pid} of this machine. "
            "Wait until it ends, or stop it first."
        )
    status = StatusWriter(path)
    try:
        yield status
    except Paused:
        status.end("paused")
        raise
    except BaseException as error:
        _end_badly(status, error)
        raise
    status.end("done")


def mark_failed(path: Path, error: str, details: str) -> None:
    """Put down from outside why a run failed that could not do so itself. Nothing is put down
    while another process of this machine is at work in the run.

    Args:
        path: of status.json, which may be missing or damaged.
        error: what happened, in a line.
        details: what stands for the traceback.
    """
    try:
        before = read_status(path)
    except (FileNotFoundError, ValueError, TypeError):
        StatusWriter(path)
        before = read_status(path)
    if before.state == "running" and _is_here(before) and before.pid != os.getpid():
        return
    status = replace(before, state="failed", ended=_now(), error=error, traceback=details)
    write_atomically(path, json.dumps(asdict(status), indent=2) + "\n")


def read_status(path: Path) -> Status:
    """The status at `path`; a "running" whose process has died reads as "killed".

    A process of another machine cannot be looked up from here, so it is believed.
    """
    status = Status(**json.loads(path.read_text(encoding="utf-8")))
    if status.state == "running" and _is_here(status) and not _is_alive(status):
        return replace(status, state="killed")
    return status


def _end_badly(status: StatusWriter, error: BaseException) -> None:
    interrupted = isinstance(error, KeyboardInterrupt)
    try:
        status.end("interrupted" if interrupted else "failed", None if interrupted else error)
    except OSError:  # such as a full disk: it must not hide the first error
        error.add_note("The end of the run could not be recorded, so its status reads as killed.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_here(status: Status) -> bool:
    return status.host == socket.gethostname()


def _is_alive(status: Status) -> bool:
    try:
        os.kill(status.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process has the number now
        pass
    return _process_start(status.pid) == status.process_start


def _process_start(pid: int) -> int | None:
    """Clock ticks from boot to the start of a living process (proc(5), field 22).

    Process numbers are used again, soonest in a restarted container; the start tells two
    processes of one number apart. None where there is no /proc.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # from the third on; the second may contain spaces
    is_zombie = fields[0] == "Z"  # dead, but its parent has not asked yet how it ended
    return None if is_zombie else int(fields[19])
