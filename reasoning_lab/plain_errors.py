"""Errors without a traceback where the message says it all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.runs.files import DiskFullError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Exit with status 2 for a mistake in what was asked for, 1 for a run that cannot go on, 130
    for Ctrl-C. With HYDRA_FULL_ERROR=1 in the environment the traceback is shown all the same."""
    try:
        yield
    except (ConfigError, DiskFullError, RunError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(error, file=sys.stderr)
        sys.exit(1 if isinstance(error, RunError) else 2)
    except KeyboardInterrupt:
        sys.exit(130)
