"""Compare, say it on the screen, and leave it in files."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from reasoning_lab.compare import table
from reasoning_lab.compare.compare import compare
from reasoning_lab.compare.comparison import Comparison
from reasoning_lab.compare.page.page import write_page
from reasoning_lab.compare.record import as_json
from reasoning_lab.config import ConfigError
from reasoning_lab.runs.files import DiskFullError, naming_full_disk, write_atomically


def show_and_write(
    paths: Sequence[str | Path],
    folder: Path,
    console: Console,
    *,
    runs_dir: str | Path = "runs",
    metric_name: str | None = None,
    lower_is_better: bool = False,
) -> Comparison:
    """Compare runs (arguments as of `compare`), print tables and verdict, write all into `folder`.

    Raises:
        ConfigError: there are no such runs, none has the metric, or the folder cannot be made.
        DiskFullError: no space; files of an earlier comparison are untouched.
    """
    comparison = compare(paths, runs_dir, metric_name, lower_is_better=lower_is_better)
    table.show(comparison, console)
    page = write_comparison(comparison, folder)
    console.print(Text(f"\nPage: {page}"), soft_wrap=True)
    return comparison


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write verdict.md, comparison.json and the page; returns the page's path.

    Raises:
        ConfigError: the folder cannot be made.
        DiskFullError: no space.
    """
    try:
        with naming_full_disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except DiskFullError:
        raise
    except OSError as error:
        raise ConfigError(
            f"--output {folder}: cannot be made ({error.strerror}). Choose another folder."
        ) from error
    write_atomically(folder / "verdict.md", table.as_markdown(comparison))
    write_atomically(folder / "comparison.json", as_json(comparison))
    return write_page(comparison, folder)
