"""Writes that leave either the old file or the new one, and name a full disk as such."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# How TensorStore, with which Orbax writes checkpoints, reports a full disk: as a ValueError.
_TENSORSTORE_NO_SPACE = "RESOURCE_EXHAUSTED: Error writing"


class DiskFullError(OSError):
    """No space (or quota) is left for a file of the run; what was written before is intact."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The disk is full: {path} could not be written. What was saved before is intact. "
            "Free some space, then resume the run."
        )
        self.errno = errno.ENOSPC


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Turn "no space left" inside the block into a `DiskFullError` that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFullError(path) from error
        raise
    except ValueError as error:
        if str(error).startswith(_TENSORSTORE_NO_SPACE):
            raise DiskFullError(path) from error
        raise


def write_atomically(path: Path, text: str) -> None:
    """Replace the file at `path` by `text` (UTF-8): a reader sees the old text or the new, whole.

    Raises:
        DiskFullError: no space; the old file is untouched and no partial file is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming_full_disk(path):
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
