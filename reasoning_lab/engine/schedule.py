"""The learning rate as data: a number for each step, not a closure in a compiled program."""

import math

from reasoning_lab.stages.specs import StageSpec


def learning_rate(stage: StageSpec, step: int, max_steps: int) -> float:
    """The rate of a step (from 0): linear warm-up, then half a cosine."""
    warmup = math.ceil(max_steps * stage.warmup_ratio)
    if step < warmup:
        return stage.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(max_steps - warmup, 1)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    final = stage.final_learning_rate_ratio
    return stage.learning_rate * (final + (1 - final) * cosine)
