"""What runs inside the sandbox: a program, then calls to what it defines.

It is run as a file with the bare interpreter and imports nothing of ours.
In, on stdin: marshal of (program, setup, calls, CPU seconds, bytes of memory, bytes of results).
Out, on stdout: a line READY before the program runs, then a line for each call: its value, or
["error", name of the exception]. run.py reads it and takes none of it on trust.

Values are lists of a tag and text or values, see values.py. Only exact built-in types are sent,
and dictionaries of the standard library as plain ones: an object with an `__eq__` or `__repr__` of
its own stays here.
"""

import io
import marshal
import os
import resource
import sys

TYPE_CHECKING = False  # importing typing would take as long as the rest of the start
if TYPE_CHECKING:
    from typing import Any

READY = b"ready"

_FILE_BYTES = 1024 * 1024
_OPEN_FILES = 32
_MAX_DEPTH = 50


class _Nothing(io.RawIOBase):
    """A file that is empty and takes all that is written."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Any") -> int:
        return 0

    def writable(self) -> bool:
        return True

    def write(self, data: "Any") -> int:
        return len(data)


def main() -> None:
    results = os.dup(1)
    program, setup, calls, cpu_seconds, memory_bytes, result_bytes = marshal.loads(
        sys.stdin.buffer.read()
    )
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    # In place of /dev/null, which would be the host's own: root could change its mode from here.
    sys.stdin = io.TextIOWrapper(io.BufferedReader(_Nothing()))
    sys.stdout = sys.stderr = io.TextIOWrapper(io.BufferedWriter(_Nothing()), errors="replace")
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),  # the host kills sooner, unless it sleeps
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, 1),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    _write(results, READY)
    # Not __main__: what a program does only when run as a script is no part of its functions.
    module = type(sys)("program")
    sys.modules["program"] = module
    try:
        exec(compile(program, "program.py", "exec"), module.__dict__)
        exec(compile(setup, "setup.py", "exec"), module.__dict__)
    except BaseException as error:  # sys.exit() too
        for _ in calls:
            _write(results, _error(error))
        os._exit(1)
    for call in calls:
        try:
            # Encoded at once, so that no later call can change it.
            line = _encoded(eval(call, module.__dict__), result_bytes)
        except BaseException as error:
            line = _error(error)
        result_bytes -= len(line)
        _write(results, line)
    os._exit(0)


def _write(descriptor: int, line: bytes) -> None:
    line += b"\n"
    while line:
        line = line[os.write(descriptor, line) :]


def _error(error: BaseException) -> bytes:
    name = type(error).__name__[:100]
    return b'["error","%s"]' % (name if name.isidentifier() else "?").encode("ascii", "replace")


def _encoded(value: "Any", room: int) -> bytes:
    """One line of at most `room` bytes.

    Raises:
        TypeError: there is something in the value that has no place in a test's result.
        OverflowError: it is too large.
    """
    parts: list[str] = []
    dictionaries = _dictionaries()

    def add(part: str) -> None:
        nonlocal room
        room -= len(part)
        if room < 0:
            raise OverflowError("too large a result")
        parts.append(part)

    def walk(value: "Any", depth: int) -> None:
        kind = type(value)
        if depth > _MAX_DEPTH:
            raise OverflowError("too deep a result")
        if value is None or value is True or value is False:
            add(f'["constant","{value}"]')
        elif kind is int:
            if value.bit_length() > 4 * room:
                raise OverflowError("too large a number")
            add(f'["int","{value:x}"]')
        elif kind is float:
            add(f'["float","{value.hex()}"]')
        elif kind is complex:
            add(f'["complex","{value.real.hex()}","{value.imag.hex()}"]')
        elif kind is str or kind is bytes:
            if len(value) > room:
                raise OverflowError("too long a text")
            raw = value.encode("utf-8", "surrogatepass") if kind is str else value
            add(f'["{kind.__name__}","{raw.hex()}"]')
        elif kind in (list, tuple, set, frozenset) or kind in dictionaries:
            items = (
                [part for item in value.items() for part in item] if kind in dictionaries else value
            )
            add(f'["{"dict" if kind in dictionaries else kind.__name__}"')
            for item in items:
                add(",")
                walk(item, depth + 1)
            add("]")
        else:
            raise TypeError(f"a result of type {kind.__name__}")

    walk(value, 0)
    return "".join(parts).encode()


def _dictionaries() -> "tuple[Any, ...]":
    """The types that are sent as plain dictionaries."""
    collections = sys.modules.get("collections")  # not imported for programs that do not use it
    if collections is None:
        return (dict,)
    return (dict, collections.Counter, collections.OrderedDict, collections.defaultdict)


main()
