"""A GRPO trainer on a tiny policy, and what is seen of its training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx
from tiny_models import SMALL, tiny_policy

from reasoning_lab.data.example import Example
from reasoning_lab.data.prompts import ProblemBatches
from reasoning_lab.engine import decoding, grpo_step
from reasoning_lab.engine.grpo import Batches, GRPOTrainer, Judge
from reasoning_lab.engine.grpo_groups import Record
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.lora import Params
from reasoning_lab.engine.models import Policy
from reasoning_lab.engine.specs import LoraSpec
from reasoning_lab.rewards.specs import Attempt
from reasoning_lab.stages.specs import GRPOSpec

ARCH = replace(SMALL, num_layers=1)
LORA = LoraSpec(
    rank=4,
    alpha=8.0,
    target_modules=("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
)
GROUPS, G = 4, 8
# All tests share these shapes, and so the compiled programs.
STAGE = GRPOSpec(
    learning_rate=0.1,
    warmup_ratio=0.0,
    max_steps=4,
    batch_size=GROUPS,
    num_generations=G,
    beta=0.04,
    max_prompt_length=128,
    max_completion_length=12,
    row_length=256,
    checkpoint_every=100,
    rollouts_every=1,
)
PROBLEMS = [
    Example(str(n), "sums", "addition", f"What is {n} + 1?", None, str(n + 1), "")
    for n in range(12)
]
PROGRAMS = (
    decoding.prefill,
    decoding.decode,
    grpo_step.log_probs_of_rows,
    grpo_step.train_step,
)


@dataclass(frozen=True)
class Verdicts:
    total: npt.NDArray[np.float64]

    @property
    def components(self) -> dict[str, npt.NDArray[np.float64]]:
        return {"lower": self.total}

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.total)

    @property
    def correct(self) -> npt.NDArray[np.float64]:
        return np.where(self.total > 0.5, 1.0, 0.0)

    @property
    def too_slow(self) -> tuple[str, ...]:
        return ()


def share_of_small_letters(attempts: Sequence[Attempt]) -> Verdicts:
    return Verdicts(
        np.array([np.mean([c.islower() for c in a.completion] or [0.0]) for a in attempts])
    )


@dataclass
class Seen:
    """What a trainer told its caller."""

    done: int = 0
    metrics: list[dict[str, float]] = field(default_factory=list)
    rollouts: list[list[Record]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        return [record for step in self.rollouts for record in step]

    @property
    def repeatable(self) -> list[dict[str, float]]:
        """Metrics that do not measure time."""
        return [
            {k: v for k, v in step.items() if not k.startswith(("time/", "speed/"))}
            for step in self.metrics
        ]


def new_trainer(
    folder: Path,
    stage: GRPOSpec = STAGE,
    *,
    policy: Policy | None = None,
    reference: Params | None = None,
    judge: Judge = share_of_small_letters,
    batches: Batches | None = None,
    seed: int = 0,
) -> GRPOTrainer:
    policy = policy or tiny_policy(ARCH, LORA)
    return GRPOTrainer(
        policy,
        jax.tree.map(jnp.copy, policy.params) if reference is None else reference,
        stage,
        batches=batches or ProblemBatches(PROBLEMS, batch_size=GROUPS, seed=seed),
        judge=judge,
        rows_at_once=2,
        generation_batch_size=GROUPS * G,
        execution=Execution(),
        checkpoint_dir=folder,
        seed=seed,
    )


def ending_policy() -> Policy:
    """One that gives the end token a fair chance."""
    policy = tiny_policy(ARCH, LORA)
    embedding = policy.base["embedding"]
    louder = embedding.at[policy.tokenizer.eos_id].multiply(4.0)
    policy.base = policy.base | {"embedding": louder}
    return policy


def train(trainer: GRPOTrainer, at: int = 0, then: Callable[[], None] = lambda: None) -> Seen:
    """Train, doing something right after the step `at`."""
    seen = Seen()

    def on_step(step: int, metrics: dict[str, float]) -> None:
        assert step == trainer.steps_done + 1
        seen.metrics.append(dict(metrics))

    def after_step(step: int) -> None:
        seen.steps.append(step)
        if step == at:
            then()

    seen.done = trainer.fit(
        on_step, lambda step, records: seen.rollouts.append(records), after_step
    )
    return seen


def everything(trainer: GRPOTrainer) -> list[npt.NDArray[Any]]:
    """All that training changes: LoRA weights and optimizer state."""
    state = nnx.as_pure(trainer.actor.optimizer.opt_state)
    return [np.asarray(x) for x in jax.tree.leaves((trainer.policy.params, state))]


def assert_same_bits(a: Sequence[Any], b: Sequence[Any]) -> None:
    assert len(a) > 8
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
