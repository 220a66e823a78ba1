"""The measurements of one SFT workload as a table, and how near ours comes to the limit."""

import statistics
from collections.abc import Mapping, Sequence

from bench import report, worker
from bench.flops import necessary_flops
from bench.sft_workloads import Workload
from reasoning_lab.engine.architecture import ARCHITECTURES

COLUMNS = ("useful tokens/s", "slowest–fastest", "s/step", "peak GB", "first loss", "ours / this")
"""Speed and time are medians over the timed steps of all rounds, memory is the largest peak."""

Measured = report.Measured[Workload, worker.SFTResult]


def table(results: Mapping[str, Measured]) -> report.Table:
    """Args: results: system -> what was measured on the workload."""
    speeds = {system: _tokens_per_second(measured) for system, measured in results.items()}
    rows = [
        [
            report.LABELS[system],
            f"{statistics.median(speeds[system]):.1f}",
            f"{min(speeds[system]):.1f}–{max(speeds[system]):.1f}",
            f"{statistics.median(measured.seconds):.2f}",
            f"{measured.peak_gigabytes:.1f}",
            f"{measured.initial_loss:.4f}",
            report.ratio_to_ours(system, speeds),
        ]
        for system, measured in results.items()
    ]
    return report.Table(_title(next(iter(results.values())).workload), COLUMNS, rows)


def limit_line(ours: Measured, processes: Sequence[worker.SFTResult]) -> str:
    """Args: processes: those of all libraries; the best matrix product of any is the limit."""
    limit = max(result.matmul_flops for result in processes)
    reached = _flops_per_second(ours)
    return (
        f"Ours does {reached / 1e9:.0f} GFLOP/s of necessary work: {reached / limit:.0%} of the "
        f"{limit / 1e9:.0f} GFLOP/s of this machine's best float32 matrix product."
    )


def _title(workload: Workload) -> str:
    useful = statistics.mean(workload.useful_tokens(step) for step in range(len(workload.batches)))
    padded = len(workload.batches[0]) * workload.pad_to
    packed = workload.rows * workload.row_length
    return (
        f"{workload.name}: {workload.description}. {useful:.0f} useful tokens; the peers compute "
        f"{len(workload.batches[0])} × {workload.pad_to} ({useful / padded:.0%} useful), "
        f"ours {workload.rows} × {workload.row_length} ({useful / packed:.0%})."
    )


def _tokens_per_second(measured: Measured) -> list[float]:
    """Of every timed step."""
    return [
        measured.workload.useful_tokens(worker.WARMUP_STEPS + step) / seconds
        for result in measured.rounds
        for step, seconds in enumerate(result.seconds)
    ]


def _flops_per_second(measured: Measured) -> float:
    """Necessary operations done a second; the median step."""
    arch = ARCHITECTURES[worker.MODEL.architecture]
    return statistics.median(
        necessary_flops(arch, worker.LORA.rank, measured.workload, worker.WARMUP_STEPS + step) / s
        for result in measured.rounds
        for step, s in enumerate(result.seconds)
    )
