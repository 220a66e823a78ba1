"""JAX's CUDA wheels on a machine without a driver: there for mode=plan, in the way of all else."""

import os
import sys
from types import ModuleType

from reasoning_lab.hardware.detect import has_nvidia_driver

WANTED = "REASONING_LAB_COMPILES_FOR_CUDA"
"""Set in the environment of a process that compiles for cards that are not there."""


def set_aside() -> None:
    """Let JAX, before it is imported, overlook CUDA wheels that have no driver.

    jax 0.10 loads them on import whatever JAX_PLATFORMS says, and each part prints that there is no
    driver: eight lines before every run, which no setting of theirs turns off.
    """
    if os.environ.get(WANTED) or has_nvidia_driver() or "jax" in sys.modules:
        return
    for version in ("12", "13"):
        sys.modules.setdefault(f"jax_cuda{version}_plugin", None)  # type: ignore[arg-type]
        plugin = ModuleType(f"jax_plugins.xla_cuda{version}")
        plugin.initialize = lambda: None  # type: ignore[attr-defined]
        sys.modules.setdefault(plugin.__name__, plugin)
