"""Which programs a run executes, and their sizes, from its specs alone."""

from collections.abc import Iterator

from reasoning_lab.engine.generate import SLOTS, round_up
from reasoning_lab.engine.grpo_batch import RowShape
from reasoning_lab.engine.programs import (
    EvaluationRead,
    EvaluationWrite,
    GRPOStep,
    HeldOutLoss,
    Program,
    ReadPrompts,
    ReferenceLogProbs,
    Setting,
    SFTStep,
    WriteCompletions,
)
from reasoning_lab.hardware.specs import HardwareSpec
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec

CLOSING_TOKENS = 4
"""Tokens of "</answer>"; only a tokenizer knows how many, and nothing depends on it."""


def sft_programs(setting: Setting, stage: SFTSpec, hardware: HardwareSpec) -> Iterator[Program]:
    """What supervised fine-tuning runs while it trains."""
    rows = stage.batch_tokens // stage.max_length
    micro_batches = hardware.micro_batches(rows)
    yield SFTStep(
        setting=setting,
        micro_batches=micro_batches,
        rows=rows // micro_batches,
        length=stage.max_length,
    )
    if stage.eval_every:
        yield HeldOutLoss(setting=setting, rows=hardware.rows_at_once, length=stage.max_length)


def grpo_programs(setting: Setting, stage: GRPOSpec, hardware: HardwareSpec) -> Iterator[Program]:
    """What a step of GRPO runs, in order."""
    groups = min(stage.batch_size, max(1, hardware.generation_batch_size // stage.num_generations))
    prompts = ReadPrompts(
        setting=setting,
        shared=groups,
        shared_length=stage.max_prompt_length - 1,
        completions=groups * stage.num_generations,
        own_length=0,
        room=stage.max_completion_length,
        closing=CLOSING_TOKENS if stage.end_after_answer else 0,
    )
    yield prompts
    truncates = stage.top_p < 1 or stage.top_k > 0
    yield WriteCompletions(setting=setting, prompts=prompts, greedy=False, truncate=truncates)
    shape = RowShape.of(stage, hardware.rows_at_once)
    sizes = {"micro_batches": shape.micro_batches, "rows": shape.rows, "length": shape.length}
    if stage.beta:
        yield ReferenceLogProbs(setting=setting, **sizes)
    ratio = stage.importance_ratio == "sequence"
    yield GRPOStep(setting=setting, sequence_ratio=ratio, **sizes)


def evaluation_programs(
    setting: Setting, hardware: HardwareSpec, *, problems: int, prompt_length: int, new_tokens: int
) -> Iterator[Program]:
    """Answers to held-out problems whose prompts are at most `prompt_length` tokens."""
    prompts = EvaluationRead(
        setting=setting,
        shared=1,
        shared_length=SLOTS,
        completions=min(hardware.generation_batch_size, 1 << (problems - 1).bit_length()),
        own_length=max(SLOTS, round_up(prompt_length, SLOTS) - SLOTS),
        room=round_up(new_tokens, SLOTS),
        closing=0,
    )
    yield prompts
    yield EvaluationWrite(setting=setting, prompts=prompts, greedy=True, truncate=False)
