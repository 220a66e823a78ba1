"""The measurements of one workload as a table for the terminal and for docs/performance.md."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.table import Table

from bench import worker
from bench.flops import necessary_flops
from bench.workloads import Workload
from reasoning_lab.engine.architecture import ARCHITECTURES

OURS = "ours"
LABELS = {OURS: "reasoning_lab", "peers_tunix": "Tunix", "peers_trl": "TRL"}
COLUMNS = ("useful tokens/s", "slowest–fastest", "s/step", "peak GB", "first loss", "ours / this")
"""Speed and time are medians over the timed steps of all rounds, memory is the largest peak."""


@dataclass(frozen=True)
class Measured:
    """All rounds of one library on one workload."""

    workload: Workload
    rounds: Sequence[worker.Result]

    @property
    def tokens_per_second(self) -> list[float]:
        """Of every timed step."""
        return [
            self.workload.useful_tokens(worker.WARMUP_STEPS + step) / seconds
            for result in self.rounds
            for step, seconds in enumerate(result.seconds)
        ]

    @property
    def seconds(self) -> float:
        return statistics.median(s for result in self.rounds for s in result.seconds)

    @property
    def peak_gigabytes(self) -> float:
        return max(result.peak_bytes for result in self.rounds) / 1e9

    @property
    def initial_loss(self) -> float:
        return self.rounds[0].initial_loss

    @property
    def flops_per_second(self) -> float:
        """Necessary operations done a second; the median step."""
        arch = ARCHITECTURES[worker.MODEL.architecture]
        return statistics.median(
            necessary_flops(arch, worker.LORA.rank, self.workload, worker.WARMUP_STEPS + step) / s
            for result in self.rounds
            for step, s in enumerate(result.seconds)
        )


Results = Mapping[str, Measured]
"""Library -> what was measured on one workload."""


def rows(results: Results) -> list[list[str]]:
    lines = []
    for system, measured in results.items():
        speeds = measured.tokens_per_second
        ratio = "–"
        if system != OURS and OURS in results:
            ours = statistics.median(results[OURS].tokens_per_second)
            ratio = f"{ours / statistics.median(speeds):.1f}×"
        lines.append(
            [
                LABELS[system],
                f"{statistics.median(speeds):.1f}",
                f"{min(speeds):.1f}–{max(speeds):.1f}",
                f"{measured.seconds:.2f}",
                f"{measured.peak_gigabytes:.1f}",
                f"{measured.initial_loss:.4f}",
                ratio,
            ]
        )
    return lines


def loss_disagreement(results: Results) -> float:
    """The largest difference between first losses: near zero if all do the same work."""
    losses = [measured.initial_loss for measured in results.values()]
    return max(losses) - min(losses)


def title(workload: Workload) -> str:
    useful = statistics.mean(workload.useful_tokens(step) for step in range(len(workload.batches)))
    padded = len(workload.batches[0]) * workload.pad_to
    packed = workload.rows * workload.row_length
    return (
        f"{workload.name}: {workload.description}. {useful:.0f} useful tokens; the peers compute "
        f"{len(workload.batches[0])} × {workload.pad_to} ({useful / padded:.0%} useful), "
        f"ours {workload.rows} × {workload.row_length} ({useful / packed:.0%})."
    )


def machine_rate(every: Sequence[Results]) -> float:
    """The best float32 matrix product that any of the libraries reached, operations a second."""
    return max(
        result.matmul_flops
        for results in every
        for measured in results.values()
        for result in measured.rounds
    )


def rate_line(results: Results, rate: float) -> str:
    reached = results[OURS].flops_per_second
    return (
        f"Ours does {reached / 1e9:.0f} GFLOP/s of necessary work: {reached / rate:.0%} of the "
        f"{rate / 1e9:.0f} GFLOP/s of this machine's best float32 matrix product."
    )


def setting(every: Sequence[Results]) -> str:
    """Date, machine, versions and what all libraries have in common."""
    found = {
        package: number
        for results in every
        for measured in results.values()
        for package, number in measured.rounds[0].versions.items()
    }
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


def terminal_table(results: Results) -> Table:
    workload = next(iter(results.values())).workload
    table = Table(title=title(workload), title_justify="left")
    table.add_column("")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for row in rows(results):
        table.add_row(*row)
    return table


def markdown(every: Sequence[Results]) -> str:
    rate = machine_rate(every)
    parts = [setting(every)]
    for results in every:
        workload = next(iter(results.values())).workload
        lines = [["", *COLUMNS], ["---", *["---:"] * len(COLUMNS)], *rows(results)]
        parts.append(f"**{title(workload)}**")
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        if OURS in results:
            parts.append(rate_line(results, rate))
    return "\n\n".join(parts) + "\n"
