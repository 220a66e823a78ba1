"""What the reports of all benchmarks share: measurements, names, the machine, tables."""

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

import rich.table

from bench import worker

OURS = "ours"
LABELS = {OURS: "reasoning_lab", "tunix": "Tunix", "trl": "TRL"}

W = TypeVar("W")
R = TypeVar("R", bound=worker.Result)


@dataclass(frozen=True)
class Measured(Generic[W, R]):
    """All rounds of one library on one workload."""

    workload: W
    rounds: Sequence[R]

    @property
    def seconds(self) -> list[float]:
        """Of every timed step."""
        return list(chain.from_iterable(result.seconds for result in self.rounds))

    @property
    def peak_gigabytes(self) -> float:
        return max(result.peak_bytes for result in self.rounds) / 1e9

    @property
    def initial_loss(self) -> float:
        return self.rounds[0].initial_loss


@dataclass(frozen=True)
class Table:
    """A title, and a row a system whose first cell is its name."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def for_terminal(self) -> rich.table.Table:
        table = rich.table.Table(title=self.title, title_justify="left")
        table.add_column("")
        for column in self.columns:
            table.add_column(column, justify="right", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        lines = [["", *self.columns], ["---", *["---:"] * len(self.columns)], *self.rows]
        return f"**{self.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio_to_ours(system: str, speeds: Mapping[str, Sequence[float]]) -> str:
    """How many times faster ours is; medians of `speeds`, system -> speed of every timed step."""
    if system == OURS or OURS not in speeds:
        return "–"
    return f"{statistics.median(speeds[OURS]) / statistics.median(speeds[system]):.1f}×"


def loss_disagreement(measured: Iterable[Measured[W, R]]) -> float:
    """The largest difference between initial losses: near zero if all do the same work."""
    losses = [library.initial_loss for library in measured]
    return max(losses) - min(losses)


def setting(results: Iterable[worker.Result]) -> str:
    """Date, machine, versions and what all libraries have in common."""
    found = {package: number for result in results for package, number in result.versions.items()}
    packages = ", ".join(f"{package} {number}" for package, number in sorted(found.items()))
    return (
        f"{date.today().isoformat()}, {cpu_name()}, {os.cpu_count()} cores; {packages}. "
        f"Gemma 3 270M, float32, LoRA of rank {worker.LORA.rank} on all linear layers, AdamW."
    )


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
