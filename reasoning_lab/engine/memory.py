"""Running out of device memory, said in one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from reasoning_lab.config import RunError

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_EXHAUSTED = re.compile(r"RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)
_ASKED = (  # how XLA says it: on CPU and GPU; on TPU, while running and while compiling
    re.compile(r"out of memory (?:while trying to allocate|allocating) ([\d.]+)()", re.IGNORECASE),
    re.compile(r"Attempting to (?:allocate|reserve) ([\d.]+)([KMG]?)"),
    re.compile(r"Used ([\d.]+)([KMG]?) of [\d.]+[KMG]? hbm"),
)


class OutOfMemoryError(RunError):
    """A device has too little memory for what it was to do.

    `asked` is the number of bytes that could not be had, if the message tells.
    """

    def __init__(self, doing: str, asked: int | None) -> None:
        amount = "" if asked is None else f": {asked / 1e9:.3g} GB were asked for"
        super().__init__(f"Out of memory in {doing}{amount}.")
        self.doing = doing
        self.asked = asked


@contextmanager
def naming_memory(doing: str) -> Iterator[None]:
    """Turn XLA's errors about memory inside the block into an `OutOfMemoryError`."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not _EXHAUSTED.search(str(error)):
            raise
        raise OutOfMemoryError(doing, _asked(str(error))) from error


def _asked(text: str) -> int | None:
    found = next((match for pattern in _ASKED if (match := pattern.search(text))), None)
    return None if found is None else round(float(found[1].rstrip(".")) * _UNITS[found[2]])
