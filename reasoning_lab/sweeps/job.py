"""One run of a sweep, in whatever process the launcher has for it."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reasoning_lab.experiment import Experiment
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import mark_failed
from reasoning_lab.stages import recipe


def run(experiment: Experiment) -> None:
    """Make or go on with the run in `run_dir`. Its failure is put down there and goes no further.

    What it says goes to output.txt in its folder, for the screen belongs to the whole sweep.

    Raises:
        KeyboardInterrupt: Ctrl-C; the run is saved.
    """
    assert experiment.run_dir is not None
    folder = RunFolder.at(experiment.run_dir)
    with _output_to(folder.output_path):
        try:
            recipe.run(experiment)
        except (Exception, SystemExit) as error:
            text = traceback.format_exc()
            with suppress(OSError):  # such as a full disk: the next one will say so, too
                mark_failed(folder.status_path, f"{type(error).__name__}: {error}", text)
                print(text, file=sys.stderr, flush=True)


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Append standard output and error of this process, native code's too, to a file."""
    with path.open("ab") as file:
        before = [(number, os.dup(number)) for number in (1, 2)]
        _flush()
        for number, _ in before:
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            with suppress(OSError):  # a full disk
                _flush()
            for number, copy in before:
                os.dup2(copy, number)
                os.close(copy)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
