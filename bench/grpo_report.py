"""The measurements of one GRPO workload as a table, and how near ours comes to the limit."""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
from statistics import median

from bench import report, worker
from bench.grpo_workloads import Workload
from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.engine.lora import projection_shapes

COLUMNS = (
    *("s/step", "slowest–fastest", "rollout s", "reference s", "training s"),
    *("generated tokens/s", "peak GB", "first loss", "ours / this"),
)
"""Seconds and speeds are medians over the timed steps of all rounds, memory is the largest peak."""

Measured = report.Measured[Workload, worker.GRPOResult]


def table(results: Mapping[str, Measured]) -> report.Table:
    """Args: results: system -> what was measured on the workload."""
    speeds = {
        system: [1 / seconds for seconds in measured.seconds]
        for system, measured in results.items()
    }
    rows = []
    for system, measured in results.items():
        rollout = _phase(measured, "rollout")
        reference = _phase(measured, "reference")
        others = zip(measured.seconds, rollout, reference, strict=True)
        rows.append(
            [
                report.LABELS[system],
                f"{median(measured.seconds):.2f}",
                f"{max(measured.seconds):.1f}–{min(measured.seconds):.1f}",
                f"{median(rollout):.2f}",
                f"{median(reference):.2f}",
                f"{median(step - a - b for step, a, b in others):.2f}",
                f"{measured.workload.completion_tokens / median(rollout):.1f}",
                f"{measured.peak_gigabytes:.1f}",
                f"{measured.initial_loss:.4f}",
                report.ratio_to_ours(system, speeds),
            ]
        )
    return report.Table(_title(next(iter(results.values())).workload), COLUMNS, rows)


def limit_line(ours: Measured, processes: Sequence[worker.GRPOResult]) -> str:
    """How near decoding comes to reading each weight once for a token of all completions.

    Args:
        processes: those of all libraries; the best float32 sum of any is the limit.
    """
    limit = max(result.read_bandwidth for result in processes)
    seconds = median(_phase(ours, "decoding")) / ours.workload.new_tokens
    reached = weight_bytes() / seconds
    return (
        f"A decoding step of ours takes {seconds * 1e3:.0f} ms and must read "
        f"{weight_bytes() / 1e9:.2f} GB of weights: {reached / 1e9:.1f} GB/s, "
        f"{reached / limit:.0%} of the {limit / 1e9:.1f} GB/s of this machine's best float32 sum."
    )


def weight_bytes() -> int:
    """Float32 weights that a decoding step must read: the body, and the vocabulary for the logits.

    LoRA, norms and the cache, some percent more, are left out.
    """
    arch = ARCHITECTURES[worker.MODEL.architecture]
    shapes = projection_shapes(arch).values()
    body = arch.num_layers * sum(prod(inputs) * prod(outputs) for inputs, outputs in shapes)
    return 4 * (body + arch.vocab_size * arch.embed_dim)


def _title(workload: Workload) -> str:
    return (
        f"{workload.name}: 1 prompt of {workload.prompt_length} tokens a step, "
        f"{workload.generations} completions of {workload.new_tokens}."
    )


def _phase(measured: Measured, name: str) -> list[float]:
    """Seconds of every timed step."""
    return list(chain.from_iterable(result.phases[name] for result in measured.rounds))
