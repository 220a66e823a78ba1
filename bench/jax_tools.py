"""What the measuring processes of ours and of Tunix share: device, compilations, machine limits."""

import time

import jax

from bench import worker
from reasoning_lab.hardware.specs import HardwareSpec

HARDWARE = HardwareSpec(
    platform="cpu",
    param_dtype="float32",
    remat=False,
    rows_per_micro_batch=2,
    generation_batch_size=32,
)


class Compilations:
    """Notes from now on when a function is compiled whose name contains one of `programs`."""

    def __init__(self, *programs: str) -> None:
        self._programs = programs
        self._found: list[tuple[float, str]] = []  # the clock's time, name
        jax.monitoring.register_event_duration_secs_listener(self._on_event)

    def _on_event(self, event: str, duration_secs: float, **details: str | int) -> None:
        name = str(details.get("fun_name"))
        if event.endswith("backend_compile_duration") and any(p in name for p in self._programs):
            self._found.append((time.perf_counter(), name))

    def require_none_timed(self, clock: worker.StepClock) -> None:
        """Raise if a timed step compiled something: that is not what training costs."""
        missing = [p for p in self._programs if not any(p in name for _, name in self._found)]
        if missing:
            raise RuntimeError(f"JAX reports no compilation of {missing}: renamed?")
        again = [name for when, name in self._found if when > clock.warm_up_end]
        if again:
            raise RuntimeError(f"compiled again after the warm-up step: {again}")


def matmul_flops() -> float:
    product = jax.jit(jax.numpy.matmul)
    return worker.matmul_flops(
        lambda left, right: product(left, right).block_until_ready(), jax.numpy.asarray
    )


def read_bandwidth() -> float:
    total = jax.jit(jax.numpy.sum)
    return worker.read_bandwidth(
        lambda values: total(values).block_until_ready(), jax.numpy.asarray
    )
