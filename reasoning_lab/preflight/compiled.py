"""What compilers are asked, and what they say of a program; plain values."""

from dataclasses import dataclass

from reasoning_lab.hardware.machines import Machine


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What programs are compiled for.

    quick: let the compiler work less.
    """

    machine: Machine
    fsdp: int
    tp: int
    quick: bool


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """Memory, work and compile time of one program. Bytes and operations are those of one chip.

    Where a program needs more memory than the chip has, the compiler refuses it: `peak` is what it
    said that the program would need, and there are no `bytes`.
    """

    peak: float
    """Bytes in use at the worst moment, arguments included."""
    arguments: float
    """Bytes of the arguments that are in the peak: the compiler leaves out what is not read."""
    flops: float
    bytes: float
    """Read from and written to the chip's memory."""
    seconds: float
    """What compiling took on this computer."""
    refused: bool = False
