"""Floating-point operations that a LoRA step cannot do without, however it is programmed."""

from collections.abc import Sequence
from math import prod

from bench.sft_workloads import Workload
from reasoning_lab.data.packing import TokenizedExample
from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.lora import projection_shapes


def necessary_flops(arch: Architecture, rank: int, workload: Workload, step: int) -> float:
    """Operations of one step on its useful tokens; a multiplication with its addition counts two.

    A token costs 4 for each weight of the frozen body (forward, and the gradient of its input) and
    6 for each of LoRA (its own gradient too); a target token costs 4 for each weight of the
    vocabulary. Attention is two products forward and four backward over the tokens that see each
    other. Norms and the optimizer are left out.
    """
    shapes = projection_shapes(arch).values()
    body = arch.num_layers * sum(prod(inputs) * prod(outputs) for inputs, outputs in shapes)
    lora = arch.num_layers * sum(
        rank * (prod(inputs) + prod(outputs)) for inputs, outputs in shapes
    )
    vocabulary = arch.vocab_size * arch.embed_dim
    return (
        workload.useful_tokens(step) * (4 * body + 6 * lora)
        + workload.target_tokens(step) * 4 * vocabulary
        + _attention(arch, workload.batches[step])
    )


def _attention(arch: Architecture, examples: Sequence[TokenizedExample]) -> float:
    pairs = sum(len(e.tokens) * (len(e.tokens) + 1) / 2 for e in examples)
    return arch.num_layers * (2 + 4) * 2 * arch.num_heads * arch.head_dim * pairs
