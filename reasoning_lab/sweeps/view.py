"""All runs of a sweep on one screen while they go on, and the same table in a file."""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from statistics import fmean

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from reasoning_lab.runs.files import write_atomically
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.sweeps.folder import SweepFolder
from reasoning_lab.sweeps.state import RunState, read_state

_SECONDS_BETWEEN_LOOKS = 0.5
_COLOURS = {
    "done": "green",
    "running": "cyan",
    "starting": "cyan",
    "failed": "red",
    "killed": "red",
}
_FIRST = (
    *("running", "starting", "failed", "killed", "unreadable"),
    *("interrupted", "paused", "done", "waiting"),
)


class SweepView:
    """Looks at the runs now and then; says at once what ended, and keeps the table up to date."""

    def __init__(self, folder: SweepFolder, names: Sequence[str], console: Console) -> None:
        self._folder = folder
        self._console = console
        self._states: dict[str, RunState] = {}
        self._ended = 0  # of which it has been said, or was known before
        self._lock = threading.Lock()  # what has changed is said once, whoever looks
        self.add(names)

    @property
    def states(self) -> list[RunState]:
        return list(self._states.values())

    def add(self, names: Iterable[str]) -> None:
        """Look after these runs, too; what they have been doing so far is no news."""
        with self._lock:
            new = [name for name in names if name not in self._states]
            # A new dict, for another thread may be going over the old one.
            found = {name: self._read(name) for name in new}
            self._states = {**self._states, **found}
            self._ended += sum(state.has_ended for state in found.values())
            if new:
                self._write_table()

    def look(self) -> None:
        """Read what has changed, say so, and update the sweep's table."""
        with self._lock:
            changed = []
            for name, before in self._states.items():
                now = self._states[name] = self._read(name)
                if now.state != before.state:
                    changed.append(now)
                    self._ended -= before.has_ended
            if changed:
                self._write_table()
            for state in changed:
                self._say(state)

    def _read(self, name: str) -> RunState:
        return read_state(RunFolder(self._folder.path / name), self._states.get(name))

    def _write_table(self) -> None:
        with suppress(OSError):  # a full disk is told by the run that needs the room
            write_atomically(self._folder.table_path, as_markdown(self.states))

    def _say(self, state: RunState) -> None:
        self._ended += state.has_ended
        place = f"{self._ended}/{len(self._states)}" if state.has_ended else ""
        text = " ".join(filter(None, [place, state.state, state.name, in_words(state)]))
        style = _COLOURS.get(state.state, "")
        self._console.print(Text(text, style=style), soft_wrap=True)

    def __rich__(self) -> RenderableType:
        room = max(4, self._console.height - 6)
        return Group(_table(_most_telling(self.states, room)), Text(overall(self.states)))


@contextmanager
def watching(view: SweepView, console: Console) -> Iterator[None]:
    """Keep the view up to date, on a terminal as a live table, while the block runs."""
    stop = threading.Event()

    def look_on() -> None:
        while not stop.wait(_SECONDS_BETWEEN_LOOKS):
            view.look()

    thread = threading.Thread(target=look_on, daemon=True)
    live = Live(view, console=console, refresh_per_second=2) if console.is_terminal else None
    with live or nullcontext():
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            view.look()


def watch(folder: SweepFolder, console: Console) -> None:
    """Show the runs of a sweep that another process makes: on a terminal until all have ended or
    Ctrl-C, else once."""
    view = SweepView(folder, list(folder.read()["runs"]), console)
    if not console.is_terminal:
        console.print(view)
        return
    with suppress(KeyboardInterrupt), watching(view, console):
        while any(state.state in ("running", "starting", "waiting") for state in view.states):
            time.sleep(_SECONDS_BETWEEN_LOOKS)


@contextmanager
def console_of_its_own() -> Iterator[Console]:
    """The screen, even while a run in this process has standard output point at a file."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as file:
        console = Console(file=file, markup=False, emoji=False)  # paths are shown as they are
        wide = Console(file=file, markup=False, emoji=False, width=160)
        yield console if console.is_terminal else wide


def as_markdown(states: Iterable[RunState]) -> str:
    lines = [
        f"| {s.name} | {s.state} | {_steps(s)} | {_headline(s)} | {_minutes(s.seconds)} | "
        f"{_first_line(s.error).replace('|', chr(92) + '|')} |"
        for s in states
    ]
    head = ["| run | state | step | metric | minutes | error |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *lines]) + "\n"


def overall(states: Sequence[RunState]) -> str:
    """ "5 of 12 done, 1 failed, about 14 min left"."""
    count = {name: sum(s.state == name for s in states) for name in _FIRST}
    parts = [f"{count['done']} of {len(states)} done"]
    parts += [f"{count[name]} {name}" for name in _FIRST[:-2] if count[name]]
    left = seconds_left(states)
    return ", ".join([*parts, *([] if left is None else [f"about {_span(left)} left"])])


def seconds_left(states: Sequence[RunState]) -> float | None:
    """Until all have ended, if runs to come take as long as those that are done, as many at once
    as now; None before there is anything to go by, and when nothing is to come."""
    took = [s.seconds for s in states if s.state == "done"]
    running = [s for s in states if s.state in ("running", "starting")]
    known = [s.seconds_left for s in running if s.seconds_left is not None]
    to_come = sum(s.state == "waiting" for s in states) + len(running) - len(known)
    if not (known or to_come) or (to_come and not took):
        return None
    return (sum(known) + to_come * (fmean(took) if took else 0.0)) / max(1, len(running))


def in_words(state: RunState) -> str:
    """What is worth saying of a run besides its state."""
    if state.error:
        return f"at step {state.step}: {_first_line(state.error)}"
    took = _span(state.seconds) if state.seconds else ""
    return ", ".join(filter(None, [_headline(state), took]))


def _table(states: Sequence[RunState]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "state", "step", "metric", "time", "left"):
        table.add_column(name, no_wrap=name != "run", justify="left" if name == "run" else "right")
    for state in states:
        left = "" if state.seconds_left is None else _span(state.seconds_left)
        spent = _span(state.seconds) if state.seconds else ""
        cells = [state.name, state.state, _steps(state), _headline(state), spent, left]
        table.add_row(*map(Text, cells), style=_COLOURS.get(state.state, "dim"))
    return table


def _most_telling(states: Sequence[RunState], room: int) -> list[RunState]:
    """As many as there is room for: what runs or failed first, else in their order."""
    chosen = sorted(states, key=lambda state: _FIRST.index(state.state))[:room]
    return [state for state in states if state in chosen]


def _steps(state: RunState) -> str:
    return f"{state.step}/{state.max_steps}" if state.max_steps else ""


def _headline(state: RunState) -> str:
    return "" if state.headline is None else f"{state.headline[0]} {state.headline[1]:.3g}"


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if seconds else ""


def _span(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
