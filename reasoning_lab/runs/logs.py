"""Logging of a run: our messages on the console, everything worth keeping in log.txt."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

_ESCAPE_CODES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))|[\r\x07]")
_OURS = ("reasoning_lab", "__main__")


@contextmanager
def logging_to(path: Path, console: Console) -> Iterator[None]:
    """Send the logging module's messages to the file at `path` and to `console` inside the block.

    Our own messages count from INFO on, those of libraries from WARNING on: absl, jax and orbax
    are talkative. Python warnings go to the file only.
    """
    file = _LogFile(path, encoding="utf-8")
    file.setFormatter(_PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    file.addFilter(_is_worth_keeping)
    screen = RichHandler(console=console, show_path=False, log_time_format="%H:%M:%S")
    screen.addFilter(_is_worth_keeping)
    screen.addFilter(lambda record: record.name != "py.warnings")

    root = logging.getLogger()
    handlers_before, level_before = root.handlers, root.level
    root.handlers = [file, screen]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # When a checkpoint fails, asyncio says once more, at exit, what Orbax has raised already.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers = handlers_before
        root.setLevel(level_before)
        file.close()


def _is_worth_keeping(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in _OURS


class _LogFile(logging.FileHandler):
    """A log file that never stands in the way: on a full disk lines are lost, not the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the base class's name)
        pass

    def close(self) -> None:
        with suppress(OSError):  # lines that never fitted are tried once more on closing
            super().close()


class _PlainFormatter(logging.Formatter):
    """Text without the escape codes that colour a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return _ESCAPE_CODES.sub("", super().format(record))
