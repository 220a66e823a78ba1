"""Compiles programs for a machine that may not be here: one line of JSON for each of them.

Run as `python -m reasoning_lab.preflight.worker` in the environment of `environment_for`, with a
pickled Setup and then as many Programs as one likes on standard input. A process of its own,
because compilers are chosen when JAX starts, and write to the terminal what nobody there wants to
read.
"""

import json
import os
import pickle
import re
import sys
import time
from dataclasses import asdict
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from reasoning_lab.engine.programs import Program
from reasoning_lab.hardware.machines import Machine
from reasoning_lab.preflight.compiled import Compiled, Setup
from reasoning_lab.preflight.hlo_costs import executed_bytes
from reasoning_lab.preflight.jaxpr_flops import matmul_flops

QUICK = {"exec_time_optimization_effort": -1.0}
"""XLA's option for TPUs: compiled in a fifth of the time; docs/plan.md has what that changes."""

_USED = re.compile(r"Used ([\d.]+)([KMGT]?) of \S+ hbm")
_TEMPORARIES = re.compile(r"HLO temporaries \(([\d.]+)([KMGT]?)\) exceeds available HBM")


class NotInstalledError(Exception):
    """The compiler for a machine is not installed here."""


def compile_program(program: Program, mesh: Mesh, *, quick: bool) -> tuple[Compiled, str]:
    """Trace, lower and compile one program as a run would, and ask the compiler what it needs.

    Returns:
        The answer, and the text of the program of one chip; empty where the compiler refuses it.
    """
    begun = time.perf_counter()
    traced = program.call(mesh).trace()
    flops = matmul_flops(traced.jaxpr.jaxpr, program.loop_trips) / mesh.size
    lowered = traced.lower()
    try:
        compiled = lowered.compile(compiler_options=QUICK if quick else None)
    except jax.errors.JaxRuntimeError as error:
        needed = bytes_refused(str(error))
        if needed is None:
            raise
        text = ""
        costs: dict[str, Any] = {"peak": needed, "arguments": 0.0, "bytes": 0.0, "refused": True}
    else:
        memory = compiled.memory_analysis()
        text = compiled.as_text()
        costs = {
            "peak": _peak(memory, mesh.devices.flat[0].platform),
            "arguments": memory.argument_size_in_bytes,
            "bytes": executed_bytes(text, unknown_trips=program.loop_trips, hbm_only=True),
        }
    seconds = time.perf_counter() - begun
    return Compiled(flops=flops, seconds=seconds, **costs), text


def bytes_refused(message: str) -> float | None:
    """The memory that a program would need, from XLA's RESOURCE_EXHAUSTED; None: another error,
    such as too little of a memory other than HBM. Of some, XLA names the temporaries alone."""
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    found = _USED.search(message) or _TEMPORARIES.search(message)
    return found and float(found[1]) * float(1024 ** " KMGT".index(found[2] or " "))


def _peak(memory: Any, platform: str) -> float:
    """Arguments and what is computed, at the worst moment; XLA:CPU leaves out temporaries there."""
    if memory.peak_memory_in_bytes and platform != "cpu":
        return float(memory.peak_memory_in_bytes)
    kept = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return float(kept - memory.alias_size_in_bytes + memory.temp_size_in_bytes)


def mesh_of(machine: Machine, fsdp: int, tp: int) -> Mesh:
    """Devices of a machine that need not be here.

    Raises:
        NotInstalledError: JAX has no compiler for it.
    """
    try:
        match machine.platform:
            case "tpu":
                devices = topologies.get_topology_desc(
                    platform="tpu",
                    topology_name=machine.topology,
                    chips_per_host_bounds=list(machine.chips_per_host),
                ).devices
            case "cuda":
                devices = topologies.get_topology_desc(
                    platform="cuda",
                    topology_name=machine.name,
                    topology=f"{fsdp * tp}x1x1",
                    target_config=machine.target_config,
                ).devices
            case _:
                devices = jax.devices()
    except (RuntimeError, AssertionError, KeyError, NotImplementedError) as error:
        raise NotInstalledError(str(error)) from error
    return Mesh(np.array(devices[: fsdp * tp]).reshape(fsdp, tp), ("fsdp", "tp"))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever compilers print

    def answer(said: dict[str, Any]) -> None:
        print(json.dumps(said), file=answers, flush=True)

    requests = sys.stdin.buffer
    setup: Setup = pickle.load(requests)
    try:
        mesh = mesh_of(setup.machine, setup.fsdp, setup.tp)
    except NotInstalledError as error:
        answer({"not_installed": str(error)})
        return
    answer({})
    while True:
        try:
            program: Program = pickle.load(requests)
        except EOFError:
            return
        compiled, _ = compile_program(program, mesh, quick=setup.quick)
        answer(asdict(compiled))
        jax.clear_caches()


if __name__ == "__main__":
    main()
