"""The environment that wandb is used in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_wandb(**values: str) -> Iterator[None]:
    """For the time of the block wandb prints nothing, and nobody is told about its errors.

    Its own telemetry would call its server even from an offline run. Further variables may be
    given; what is set in the environment already is left as it is.
    """
    values = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", **values}
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
