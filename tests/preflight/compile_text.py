"""Compiles programs in a process of its own, as preflight/worker.py does, and keeps their texts.

Reads a pickled Setup and Programs from standard input; writes a pickled list of pairs.
"""

import os
import pickle
import sys

from reasoning_lab.preflight.worker import compile_program, mesh_of


def main() -> None:
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever compilers print
    setup, programs = pickle.load(sys.stdin.buffer)
    mesh = mesh_of(setup.machine, setup.fsdp, setup.tp)
    pairs = [compile_program(program, mesh, quick=setup.quick) for program in programs]
    pickle.dump(pairs, output)


if __name__ == "__main__":
    main()
