"""The system calls that a program in the sandbox may not make, as a filter for the kernel.

Namespaces take away the network, the files and the other processes. This takes away what is left
to make trouble with: a second process or thread, a namespace or socket of its own, and memory that
no limit counts. RLIMIT_NPROC alone would not do, as the kernel never applies it to root.
"""

import errno
import platform
import struct

from reasoning_lab.config import ConfigError

# Name of the machine -> its number in the kernel's audit interface, and the place of its system
# call numbers in the table below.
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# Denied with EPERM: numbers on x86_64 and on aarch64.
_DENIED = {
    "clone": (56, 220),
    "fork": (57, None),
    "vfork": (58, None),
    "unshare": (272, 97),
    "setns": (308, 268),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_by_handle_at": (304, 265),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "syslog": (103, 116),
    "personality": (135, 92),
}
# All calls that Linux has had since 5.1, of the same number everywhere, do not exist: io_uring,
# the new mount calls, clone3, pidfd_getfd and those to come. C libraries fall back on older ones.
_FIRST_NEW = 424

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000


def filter_program() -> bytes:
    """The filter for this machine as `bwrap --seccomp` reads it.

    Raises:
        ConfigError: there is no table for this machine.
    """
    machine = platform.machine()
    if machine not in _MACHINES:
        raise ConfigError(
            f"programs cannot be run on this machine, which is {machine}: the sandbox knows the "
            f"system calls of {' and '.join(_MACHINES)}."
        )
    architecture, column = _MACHINES[machine]
    denied = [number for numbers in _DENIED.values() if (number := numbers[column]) is not None]
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _FIRST_NEW),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
    ]
    for number in denied:
        instructions += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _FAIL | errno.EPERM)]
    instructions.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *one) for one in instructions)
