"""Writes the text of compiled programs: a process of its own, as preflight/worker.py is.

Reads a pickled Setup and Programs from standard input, and writes a pickled list.
"""

import os
import pickle
import sys

from reasoning_lab.preflight.worker import QUICK, mesh_of


def main() -> None:
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever compilers print
    setup, programs = pickle.load(sys.stdin.buffer)
    mesh = mesh_of(setup.machine, setup.fsdp, setup.tp)
    options = QUICK if setup.quick else None
    lowered = (program.call(mesh).trace().lower() for program in programs)
    pickle.dump([one.compile(compiler_options=options).as_text() for one in lowered], output)


if __name__ == "__main__":
    main()
