"""Programs that Ctrl-C can reach."""

import sys
from collections.abc import Sequence
from pathlib import Path

_OBEY = (
    "import os, signal, sys;"
    "signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def obeying_ctrl_c(command: Sequence[str | Path]) -> list[str]:
    """The command with SIGINT as it is by default: shells ignore it in what they run in the
    background, as pytest may be. The program is an absolute path."""
    return [sys.executable, "-c", _OBEY, *map(str, command)]
