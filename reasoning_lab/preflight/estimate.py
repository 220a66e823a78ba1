"""What a program needs by rule of thumb, where no compiler is at hand. Says "estimated" wherever it
is shown; tests/preflight/test_real_compilers.py compares it with compilers.

Memory is that of the arguments, exactly, and of the largest thing that is alive beside them:

- training: what the backward pass keeps of each layer (with remat its input and what is named in
  engine/transformer.py, else all that is listed under one layer), one layer in full, the gradient
  of LoRA, a layer's weights gathered from the other chips, and two copies of the logits of a chunk;
- scoring and reading prompts: one layer, its weights gathered, the logits of a chunk;
- writing: the cache, the logits of a token of each row, and a copy of both for the loop.

One layer keeps of each token the residual stream twice, what is normalised, queries, keys, values
and what was attended, and three times the hidden units, all in the base's number format; and the
scores of attention in float32, of a block of at most 512 queries.

Operations are two for each weight and token. Training goes through the layers twice, with remat
three times (the frozen weights have no gradients), and through the output embedding twice.

Bytes are, of each pass through a layer, its weights written where they are gathered and read, and
its activations five times; of logits four times; and of each token that is written the base and
three times the cache.
"""

import jax.numpy as jnp
from jax.sharding import Mesh

from reasoning_lab.engine.decoding import TOKENS_AT_ONCE
from reasoning_lab.engine.programs import (
    GRPOStep,
    HeldOutLoss,
    Program,
    ReadPrompts,
    ReferenceLogProbs,
    RowProgram,
    SFTStep,
    WriteCompletions,
)
from reasoning_lab.preflight.compiled import Compiled
from reasoning_lab.preflight.memory import bytes_on_a_device, logit_bytes, mesh_without_devices

_QUERIES_AT_ONCE = 512


def estimated(program: Program, fsdp: int, tp: int) -> Compiled:
    """Memory, operations and bytes of one chip; nothing is compiled."""
    mesh = mesh_without_devices(fsdp, tp)
    arrays = program.call(mesh).arrays
    arguments = sum(map(bytes_on_a_device, arrays.values()))
    logits = logit_bytes(program, fsdp, tp)
    match program:
        case SFTStep() | GRPOStep():
            rows = -(-program.rows // fsdp)
            kept = program.setting.arch.num_layers * _kept(program, rows * program.length, tp)
            alive = kept + _layer(program, rows, program.length, tp) + 2 * logits
            alive += bytes_on_a_device(arrays["params"])
        case ReferenceLogProbs() | HeldOutLoss():
            alive = _layer(program, -(-program.rows // fsdp), program.length, tp) + logits
        case ReadPrompts():
            length = max(program.shared_length, program.own_length)
            rows = program.completions if program.own_length else program.shared
            rows = -(-rows // fsdp)
            at_once = min(length, -(-TOKENS_AT_ONCE // rows))
            alive = _layer(program, rows, at_once, tp)
            alive += bytes_on_a_device(program.cache(mesh))
        case WriteCompletions():
            alive = 2 * logits + bytes_on_a_device(program.cache(mesh))
        case _:
            raise ValueError(f"{type(program).__name__} is not estimated")
    return Compiled(
        peak=arguments + alive,
        arguments=arguments,
        flops=_flops(program) / (fsdp * tp),
        bytes=_bytes(program, mesh, fsdp, tp),
        seconds=0.0,
    )


def _kept(program: Program, tokens: int, tp: int) -> float:
    """Bytes that the backward pass keeps of one layer."""
    arch = program.setting.arch
    named = 2 * arch.embed_dim + arch.num_heads * arch.head_dim / tp
    width = named if program.setting.remat else _live_width(program, tp)
    return tokens * _item(program) * width


def _layer(program: Program, rows: int, length: int, tp: int) -> float:
    """Bytes of one layer at work on [rows, length] tokens of a chip: activations and weights."""
    arch = program.setting.arch
    scores = 4.0 * rows * arch.num_heads / tp * min(length, _QUERIES_AT_ONCE) * program.tokens
    activations = rows * length * _live_width(program, tp) * _item(program)
    return activations + 2 * scores + _item(program) * _layer_weights(program) / tp


def _live_width(program: Program, tp: int) -> float:
    arch = program.setting.arch
    attention = (2 * arch.num_heads + 2 * arch.num_kv_heads) * arch.head_dim
    return 3 * arch.embed_dim + (attention + 3 * arch.hidden_dim) / tp


def _layer_weights(program: Program) -> float:
    """Of the matrices of one layer, how many numbers."""
    arch = program.setting.arch
    attention = 2 * (arch.num_heads + arch.num_kv_heads) * arch.head_dim * arch.embed_dim
    return float(attention + 3 * arch.embed_dim * arch.hidden_dim)


def _flops(program: Program) -> float:
    """Of all chips together."""
    arch = program.setting.arch
    layers = arch.num_layers * _layer_weights(program) * _passes(program)
    head = float(arch.vocab_size * arch.embed_dim)
    if isinstance(program, ReadPrompts):
        head = 0.0
    elif program.trains:
        head *= 2
    return 2.0 * _tokens(program) * (layers + head)


def _bytes(program: Program, mesh: Mesh, fsdp: int, tp: int) -> float:
    arch, tokens = program.setting.arch, -(-_tokens(program) // fsdp)
    if isinstance(program, WriteCompletions):
        base = bytes_on_a_device(program.setting.base(mesh))
        cache = bytes_on_a_device(program.cache(mesh))
        return program.prompts.room * (base + 3.0 * cache)
    weights = 2 * _micro_batches(program) * _layer_weights(program) / tp
    activations = 5 * tokens * _live_width(program, tp)
    layers = arch.num_layers * _passes(program) * _item(program) * (weights + activations)
    logits = 0.0 if isinstance(program, ReadPrompts) else 4.0 * arch.vocab_size * tokens / tp
    return layers + 4 * logits


def _tokens(program: Program) -> int:
    """Tokens that a call computes, over all chips."""
    match program:
        case RowProgram():
            return program.micro_batches * program.rows * program.length
        case WriteCompletions():
            return program.prompts.completions * program.prompts.room
        case ReadPrompts():
            shared = program.shared * program.shared_length
            return shared + program.completions * program.own_length
    raise ValueError(f"{type(program).__name__} is not estimated")


def _passes(program: Program) -> int:
    """How often a call goes through each layer."""
    if not program.trains:
        return 1
    return 3 if program.setting.remat else 2


def _micro_batches(program: Program) -> int:
    return program.micro_batches if isinstance(program, RowProgram) else 1


def _item(program: Program) -> int:
    return int(jnp.dtype(program.setting.param_dtype).itemsize)
