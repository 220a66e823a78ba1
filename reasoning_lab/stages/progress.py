"""Progress bars: where a run is, how fast, and how long it still takes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def make_console() -> Console:
    """The terminal; what goes to a file or a pipe gets lines wide enough to copy from."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def silent_console() -> Console:
    """For work inside of other work whose bar is on the screen already."""
    return Console(file=io.StringIO(), quiet=True)


class Bar:
    """One line of progress. Off a terminal it prints a line now and then instead."""

    def __init__(self, console: Console, progress: Progress | None, title: str, total: int) -> None:
        self._console = console
        self._progress = progress
        self._title = title
        self._total = total
        self._every = max(1, total // 10)
        self._printed = 0
        self._task: Any = progress.add_task(title, total=total, facts="") if progress else None

    def set(self, done: int, total: int) -> None:
        """Of work whose size turns out while it goes on."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)

    def update(self, done: int, facts: str = "") -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=done, facts=facts)
        elif done - self._printed >= self._every or done == self._total:
            self._console.print(f"{self._title} {done}/{self._total}  {facts}".rstrip())
            self._printed = done


@contextmanager
def progress_bar(console: Console, title: str, total: int) -> Iterator[Bar]:
    """A bar of `total` units: title, bar, units done, facts, time elapsed and time left."""
    if not console.is_terminal:
        yield Bar(console, None, title, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Bar(console, progress, title, total)
