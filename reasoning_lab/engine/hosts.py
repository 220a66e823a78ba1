"""Processes that train together (hardware.hosts): who is who, and what they tell each other.

Every host runs the same program on the same problems. Arrays on the mesh are of all hosts together;
what is decided outside of it, such as rewards, is decided by the first and told to the others.
"""

import os
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from reasoning_lab.config import ConfigError
from reasoning_lab.hardware.specs import HardwareSpec

ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


def join(hardware: HardwareSpec) -> None:
    """Meet the other processes, if there are to be any; before anything else asks JAX.

    Raises:
        ConfigError: they cannot be found, or are of another number.
    """
    if hardware.hosts == 1 or jax.distributed.is_initialized():
        return
    if hardware.platform == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    told = {name: os.environ.get(name) for name in (COUNT, NUMBER)}
    where = f"hardware.hosts={hardware.hosts}: "
    if any(text is not None and not text.isdecimal() for text in told.values()):
        raise ConfigError(f"{where}{COUNT} and {NUMBER} must be whole numbers.")
    count, number = (None if text is None else int(text) for text in told.values())
    if count not in (None, hardware.hosts):
        raise ConfigError(f"{where}{COUNT}={count} says otherwise. Make them the same.")
    try:
        jax.distributed.initialize(num_processes=count, process_id=number)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(
            f"{where}the other processes cannot be found ({str(error).splitlines()[0]}).\n"
            f"  Start the same command on each host, with {ADDRESS}=HOST:PORT of the first, "
            f"{COUNT}={hardware.hosts} and {NUMBER}=0, 1, ... in the environment. SLURM and TPU "
            "pods need none of them. On one host alone: hardware.hosts=1."
        ) from error
    if jax.process_count() != hardware.hosts:
        raise ConfigError(
            f"{where}{jax.process_count()} processes have met. Use "
            f"hardware.hosts={jax.process_count()}."
        )


def number() -> int:
    """This process among those that train together; the first is 0 and writes the run's files."""
    return jax.process_index() if jax.distributed.is_initialized() else 0


def wait(what: str) -> None:
    """Until all processes have come here."""
    if jax.distributed.is_initialized():
        multihost_utils.sync_global_devices(what)


def as_first_has_it(values: Any) -> Any:
    """A tree of NumPy arrays as the first process has it; the shapes are the same in all."""
    if not jax.distributed.is_initialized():
        return values
    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(values))
