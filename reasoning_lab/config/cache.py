"""The folder for what is made once and can be made again."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Converted weights, compiled programs, plans, measured times; REASONING_LAB_CACHE moves it."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "reasoning_lab"
    return Path(os.environ.get("REASONING_LAB_CACHE", default))
