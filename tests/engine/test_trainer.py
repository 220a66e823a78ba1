"""SFTTrainer as stages use it: real checkpoints, real interruptions."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_models import SMALL, random_weights, tiny_policy

from reasoning_lab.config import ConfigError
from reasoning_lab.data.packing import PackedRows, TokenizedExample
from reasoning_lab.engine import sft_step
from reasoning_lab.engine.checkpoints import restore_lora
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.models import Policy
from reasoning_lab.engine.schedule import learning_rate
from reasoning_lab.engine.specs import LoraSpec
from reasoning_lab.engine.trainer import DivergedError, SFTTrainer, held_out_loss
from reasoning_lab.stages.specs import SFTSpec

ARCH = replace(SMALL, num_layers=1)
LORA = LoraSpec(rank=4, alpha=8.0, target_modules=("q_proj", "v_proj"))
STEPS = 7
ONCE = Execution()
STAGE = SFTSpec(learning_rate=0.02, warmup_ratio=0.2, weight_decay=0.01, checkpoint_every=2)
_RNG = np.random.default_rng(0)
ROWS = PackedRows(
    [
        TokenizedExample(_RNG.integers(1, ARCH.vocab_size, n).tolist(), n // 3, f"example {i}")
        for i, n in enumerate([9, 20, 13, 24, 7, 16, 22, 11])
    ],
    max_length=24,
    rows_per_batch=2,
    seed=0,
)


@dataclass
class Seen:
    """What a trainer told its caller."""

    records: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def on_step(self, step: int, metrics: dict[str, float]) -> None:
        self.records.append((step, metrics))


def new_policy() -> Policy:
    return tiny_policy(ARCH, LORA)


def new_trainer(policy: Policy, checkpoint_dir: Path, stage: SFTSpec = STAGE) -> SFTTrainer:
    return SFTTrainer(
        policy,
        stage,
        batch_fn=ROWS.batch,
        max_steps=STEPS,
        micro_batches=2,
        execution=ONCE,
        checkpoint_dir=checkpoint_dir,
    )


def train(
    trainer: SFTTrainer, at: int = 0, then: Callable[[], None] = lambda: None
) -> tuple[int, Seen]:
    """Train, doing something right after the step `at`; return the last step and what was told."""
    seen = Seen()

    def after_step(step: int) -> None:
        seen.steps.append(step)
        if step == at:
            then()

    return trainer.fit(seen.on_step, after_step), seen


def everything(trainer: SFTTrainer) -> list[np.ndarray[Any, Any]]:
    """All that training changes: LoRA weights and optimizer state."""
    state = nnx.state(trainer.optimizer, nnx.optimizer.OptState)
    return [np.asarray(x) for x in jax.tree.leaves((trainer.policy.params, state))]


def assert_same_bits(a: SFTTrainer, b: SFTTrainer) -> None:
    assert len(everything(a)) > 4
    for x, y in zip(everything(a), everything(b), strict=True):
        np.testing.assert_array_equal(x, y)


@dataclass(frozen=True)
class Finished:
    trainer: SFTTrainer
    seen: Seen
    folder: Path
    compilations: int


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    before = sft_step.train_step._cache_size()
    trainer = new_trainer(new_policy(), folder)
    done, seen = train(trainer)
    assert done == STEPS
    return Finished(trainer, seen, folder, sft_step.train_step._cache_size() - before)


def test_every_step_is_reported_once_and_in_order(finished: Finished) -> None:
    assert finished.seen.steps == list(range(1, STEPS + 1))
    assert [step for step, _ in finished.seen.records] == finished.seen.steps
    for step, metrics in finished.seen.records:
        assert metrics["train/target_tokens"] == ROWS.batch(step - 1)["loss_mask"].sum()
        assert metrics["train/learning_rate"] == learning_rate(STAGE, step - 1, STEPS)
        assert set(metrics) == {
            *("train/loss", "train/grad_norm", "train/learning_rate", "train/target_tokens")
        }


def test_lora_learns_and_the_base_stays(finished: Finished) -> None:
    policy = finished.trainer.policy
    jax.tree.map(np.testing.assert_array_equal, policy.base, random_weights(ARCH))
    batches = [ROWS.batch(step) for step in range(ROWS.steps_per_epoch)]
    assert held_out_loss(policy, batches, ONCE) < held_out_loss(new_policy(), batches, ONCE) - 0.1


def test_a_frozen_half_of_the_fused_projection_stays_zero(finished: Finished) -> None:
    """Tunix fuses keys and values; q_proj and v_proj alone must not train keys."""
    [layer] = finished.trainer.policy.params["layers"].values()
    keys, values = np.moveaxis(np.asarray(layer["attn"]["kv_einsum"]["w_lora_b"]), 1, 0)
    assert not keys.any()
    assert values.all()


def test_held_out_loss_counts_tokens_not_batches(finished: Finished) -> None:
    policy = finished.trainer.policy
    batches = [ROWS.batch(0), ROWS.batch(1)]
    batches[1]["loss_mask"][:, 12:] = False
    first, second = (held_out_loss(policy, [batch], ONCE) for batch in batches)
    counts = [batch["loss_mask"].sum() for batch in batches]
    together = (first * counts[0] + second * counts[1]) / sum(counts)
    np.testing.assert_allclose(held_out_loss(policy, batches, ONCE), together, rtol=1e-6)
    assert abs(together - (first + second) / 2) > 1e-4


def test_stopped_and_resumed_is_uninterrupted(finished: Finished, tmp_path: Path) -> None:
    """Bit for bit: weights, optimizer, and everything that was reported."""
    first = new_trainer(new_policy(), tmp_path)
    done, before = train(first, 3, lambda: setattr(first, "stop_requested", True))
    assert done == 3
    second = new_trainer(new_policy(), tmp_path)
    assert second.train_steps == 3
    done, after = train(second)
    assert done == STEPS
    assert_same_bits(second, finished.trainer)
    assert [*before.records, *after.records] == finished.seen.records


def test_killed_and_resumed_is_uninterrupted(finished: Finished, tmp_path: Path) -> None:
    """A kill that saves nothing costs the steps since the last regular checkpoint."""

    def die() -> None:
        raise SystemExit

    first = new_trainer(new_policy(), tmp_path)
    with pytest.raises(SystemExit):
        train(first, 6, die)
    first.checkpoint_manager.close()  # the operating system lets the save of step 4 finish
    second = new_trainer(new_policy(), tmp_path)
    assert second.train_steps == 4
    _, seen = train(second)
    assert_same_bits(second, finished.trainer)
    assert seen.records == finished.seen.records[4:]


def test_a_finished_run_has_nothing_left_to_do(finished: Finished) -> None:
    again = new_trainer(new_policy(), finished.folder)
    done, seen = train(again)
    assert (done, seen.steps, seen.records) == (STEPS, [], [])
    assert_same_bits(again, finished.trainer)


def test_restored_lora_is_the_trained_one(finished: Finished) -> None:
    policy = new_policy()
    assert restore_lora(policy, finished.folder) == STEPS
    jax.tree.map(np.testing.assert_array_equal, policy.params, finished.trainer.policy.params)


def test_restoring_what_was_never_saved_is_refused(tmp_path: Path) -> None:
    for empty in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="saved no checkpoint yet"):
            restore_lora(new_policy(), empty)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_restoring_into_another_rank_is_refused(finished: Finished) -> None:
    other = tiny_policy(ARCH, LoraSpec(rank=2, alpha=8.0, target_modules=("q_proj", "v_proj")))
    with pytest.raises(ConfigError, match="does not fit"):
        restore_lora(other, finished.folder)
    time.sleep(0.2)  # Orbax's threads may now complain that their event loop is closed


def test_a_step_moves_weights_by_its_own_learning_rate(tmp_path: Path) -> None:
    """Adam's first update is the sign of the gradient."""
    trainer = new_trainer(new_policy(), tmp_path)
    train(trainer, 1, lambda: setattr(trainer, "stop_requested", True))
    [layer] = trainer.policy.params["layers"].values()
    moved = np.abs(layer["attn"]["q_einsum"]["w_lora_b"])
    rate = learning_rate(STAGE, 0, STEPS)
    assert rate < STAGE.learning_rate
    assert np.median(moved) == pytest.approx(rate, rel=1e-3)


def test_all_runs_in_a_process_share_one_program(finished: Finished, tmp_path: Path) -> None:
    """Neither later steps nor other learning rates, seeds or runs compile anything again."""
    assert finished.compilations == 1
    compiled = sft_step.train_step._cache_size()
    stopped = new_trainer(new_policy(), tmp_path)
    train(stopped, 1, lambda: setattr(stopped, "stop_requested", True))
    train(new_trainer(new_policy(), tmp_path))
    stage = SFTSpec(learning_rate=0.001, warmup_ratio=0.5, weight_decay=0.01)
    other = new_trainer(tiny_policy(ARCH, LORA, seed=1), tmp_path / "other", stage)
    train(other)
    assert sft_step.train_step._cache_size() == compiled


def test_trainers_in_one_process_do_not_hear_each_other(tmp_path: Path) -> None:
    """Tunix's loggers share one process-wide channel, from which nobody is ever removed."""
    one = new_trainer(new_policy(), tmp_path / "one")
    two = new_trainer(new_policy(), tmp_path / "two")
    for trainer in (one, two):
        trainer.max_steps = 3
    _, first = train(one)
    _, second = train(two)
    assert [step for step, _ in first.records] == [1, 2, 3]
    assert [step for step, _ in second.records] == [1, 2, 3]


def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_checkpoints(
    finished: Finished, tmp_path: Path
) -> None:
    policy = new_policy()
    trainer = new_trainer(policy, tmp_path)

    def spoil() -> None:
        policy.base = policy.base | {"final_norm": policy.base["final_norm"] * jnp.nan}

    with pytest.raises(DivergedError, match=r"step 4 is nan.*stage\.learning_rate"):
        train(trainer, 3, spoil)
    trainer.checkpoint_manager.close()
    restored = new_policy()
    assert restore_lora(restored, tmp_path) == 2
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(restored.params))


def test_learning_rate_warms_up_and_follows_a_cosine() -> None:
    stage = SFTSpec(learning_rate=1.0, warmup_ratio=0.25, final_learning_rate_ratio=0.2)
    rates = [learning_rate(stage, step, 8) for step in range(8)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[5] == pytest.approx(0.6)  # half way between the peak and a fifth of it
    assert all(0.2 < later < earlier for earlier, later in pairwise(rates[2:]))
    assert learning_rate(stage, 8, 8) == pytest.approx(0.2)
