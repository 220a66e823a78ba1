"""manifest.json: what a run was made from, so that it can be judged and made again."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any


def describe_run(
    *,
    packages: Sequence[str],
    seeds: Mapping[str, int],
    fingerprints: Mapping[str, str],
    device: str,
) -> dict[str, Any]:
    """The manifest of a run that starts now, ready for JSON.

    Environment variables are left out, for they hold keys. The command line is kept: every key
    on it has been validated, and none holds a secret.

    Args:
        packages: names of distributions whose installed versions matter.
        seeds: by purpose.
        fingerprints: SHA-256 in hexadecimal, by what it is of, such as "data" and "weights".
        device: the accelerator as the engine names it.
    """
    return {
        "command": [Path(sys.executable).name, *sys.argv],
        "git": _git_state(Path(__file__).parent),
        "packages": {name: _version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
        "device": device,
        "seeds": dict(seeds),
        "fingerprints": dict(fingerprints),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state(source: Path) -> dict[str, Any] | None:
    """Revision of the repository that tracks `source`, and whether the files differ from it.

    None without git, or if this package is installed rather than checked out: the repository
    around a virtual environment says nothing about the code in it.
    """
    if _git(source, "ls-files", "--error-unmatch", ".") is None:
        return None
    revision = _git(source, "rev-parse", "HEAD")
    if revision is None:
        return None
    changes = _git(source, "status", "--porcelain")
    return {"revision": revision, "dirty": changes != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _cpu_name() -> str:
    """The model of the processor; platform.processor() is empty on most Linux machines."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
