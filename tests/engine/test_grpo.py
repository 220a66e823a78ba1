"""GRPOTrainer as stages use it: a tiny policy, a judge that can be told to misbehave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from tiny_grpo import (
    ARCH,
    GROUPS,
    LORA,
    PROBLEMS,
    PROGRAMS,
    STAGE,
    G,
    Seen,
    Verdicts,
    assert_same_bits,
    ending_policy,
    everything,
    new_trainer,
    share_of_small_letters,
    train,
)
from tiny_models import random_lora

from reasoning_lab.data.example import Example
from reasoning_lab.data.prompts import ProblemBatches
from reasoning_lab.engine import advantages, grpo, grpo_step
from reasoning_lab.engine.grpo_cluster import NotANumberError
from reasoning_lab.rewards.specs import Attempt
from reasoning_lab.stages.specs import GRPOSpec

pytestmark = pytest.mark.filterwarnings("ignore:`with mesh.` context manager")  # by RLCluster


@dataclass
class Updates:
    """Arguments and results of every call of the jitted update."""

    rows: list[dict[str, npt.NDArray[Any]]] = field(default_factory=list)
    old: list[npt.NDArray[Any]] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)
    beta: list[float] = field(default_factory=list)
    scores: list[npt.NDArray[Any]] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> Updates:
    seen, train_step = Updates(), grpo_step.train_step

    def recorded(*args: Any, **static: Any) -> Any:
        seen.rows.append({name: np.asarray(x) for name, x in args[3].items()})
        seen.old.append(np.asarray(args[5]))
        seen.first.append(bool(args[6]))
        seen.beta.append(float(args[9]))
        result = train_step(*args, **static)
        seen.scores.append(np.asarray(result[2]))
        seen.metrics.append({name: float(value) for name, value in result[3].items()})
        return result

    monkeypatch.setattr(grpo_step, "train_step", recorded)
    return seen


def test_rewards_rise(tmp_path: Path) -> None:
    stage = replace(STAGE, learning_rate=0.3, max_steps=20, beta=0.0)
    seen = train(new_trainer(tmp_path, stage))
    rewards = [step["reward/total"] for step in seen.metrics]
    assert np.mean(rewards[-4:]) > 2 * np.mean(rewards[:4])
    assert all(step["train/grad_norm"] > 0 for step in seen.metrics)


@dataclass(frozen=True)
class Finished:
    """A run that nothing interrupted."""

    stage: GRPOSpec
    seen: Seen
    everything: list[npt.NDArray[Any]]
    programs: dict[int, tuple[int, ...]]


@pytest.fixture(scope="module", params=[1, 2], ids=["one update", "two updates"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    stage = replace(STAGE, num_iterations=request.param, max_steps=6, temperature=0.8)
    trainer = new_trainer(tmp_path_factory.mktemp("uninterrupted"), stage)
    programs: dict[int, tuple[int, ...]] = {}
    seen = Seen()

    def after_step(step: int) -> None:
        seen.steps.append(step)
        programs[step] = tuple(program._cache_size() for program in PROGRAMS)

    seen.done = trainer.fit(
        lambda step, metrics: seen.metrics.append(dict(metrics)),
        lambda step, records: seen.rollouts.append(records),
        after_step,
    )
    return Finished(stage, seen, everything(trainer), programs)


def test_every_step_is_reported_once_and_in_order(finished: Finished) -> None:
    assert finished.seen.done == 6
    assert finished.seen.steps == list(range(1, 7))
    assert len(finished.seen.metrics) == len(finished.seen.rollouts) == 6
    for number, records in enumerate(finished.seen.rollouts, 1):
        assert {record["step"] for record in records} == {number}
        assert len(records) == GROUPS * G


def test_nothing_is_compiled_after_the_second_step(finished: Finished) -> None:
    lengths = {step["completion/length"] for step in finished.seen.metrics}
    assert len(lengths) > 2
    assert all(finished.programs[2])
    assert finished.programs[6] == finished.programs[2]


def test_the_same_seed_gives_the_same_bits(finished: Finished, tmp_path: Path) -> None:
    again = new_trainer(tmp_path, finished.stage)
    seen = train(again)
    assert_same_bits(everything(again), finished.everything)
    assert seen.repeatable == finished.seen.repeatable
    assert seen.rollouts == finished.seen.rollouts


def test_another_seed_gives_other_samples(finished: Finished, tmp_path: Path) -> None:
    stage = replace(finished.stage, max_steps=1)
    batches = ProblemBatches(PROBLEMS, batch_size=GROUPS, seed=0)
    other = train(new_trainer(tmp_path, stage, batches=batches, seed=1))
    ours, theirs = (
        [record["completion"] for record in seen.rollouts[0]] for seen in (finished.seen, other)
    )
    assert ours != theirs


def test_stopped_and_resumed_is_uninterrupted(finished: Finished, tmp_path: Path) -> None:
    """Bit for bit: weights, optimizer, rollouts, and everything that was reported."""
    first = new_trainer(tmp_path, finished.stage)
    before = train(first, 2, lambda: setattr(first, "stop_requested", True))
    assert before.done == 2
    second = new_trainer(tmp_path, finished.stage)
    assert second.steps_done == 2
    after = train(second)
    assert after.steps == [3, 4, 5, 6]
    assert_same_bits(everything(second), finished.everything)
    assert [*before.repeatable, *after.repeatable] == finished.seen.repeatable
    assert [*before.rollouts, *after.rollouts] == finished.seen.rollouts


def test_killed_and_resumed_is_uninterrupted(finished: Finished, tmp_path: Path) -> None:
    """A kill that saves nothing costs the steps since the last regular checkpoint."""

    def die() -> None:
        raise SystemExit

    stage = replace(finished.stage, checkpoint_every=2)
    first = new_trainer(tmp_path, stage)
    with pytest.raises(SystemExit):
        train(first, 5, die)
    first.actor.checkpoint_manager.close()  # the operating system lets the save of step 4 finish
    second = new_trainer(tmp_path, stage)
    assert second.steps_done == 4
    seen = train(second)
    assert_same_bits(everything(second), finished.everything)
    assert seen.repeatable == finished.seen.repeatable[4:]


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    stage = replace(STAGE, max_steps=1)
    done = new_trainer(tmp_path, stage)
    train(done)
    again = new_trainer(tmp_path, stage)
    seen = train(again)
    assert (seen.done, seen.steps, seen.metrics) == (1, [], [])
    assert_same_bits(everything(again), everything(done))


class Unmixed:
    """Batches that do not tell domains apart."""

    def shares(self, step: int) -> dict[str, float]:
        return {}

    def observe(self, step: int, live: Mapping[str, float]) -> None:
        assert set(live) == {"addition"}


class Same(Unmixed):
    """The same problems at every step."""

    def batch(self, step: int) -> list[Example]:
        return PROBLEMS[:GROUPS]

    def spare(self, step: int, attempt: int) -> list[Example]:
        raise AssertionError("nobody asked for spare problems")


def test_the_samples_of_a_step_are_a_function_of_seed_and_step(tmp_path: Path) -> None:
    """With weights that do not move, they differ from step to step and not from run to run."""
    stage = replace(STAGE, learning_rate=1e-30, max_steps=3)
    runs = [
        train(new_trainer(tmp_path / str(run), stage, batches=Same())).rollouts for run in range(2)
    ]
    steps = [tuple(record["completion"] for record in records) for records in runs[0]]
    assert len(set(steps)) == 3
    assert runs[0] == runs[1]
    # step 2 is what it is without step 1 before it
    late = new_trainer(tmp_path / "late", stage, batches=Same())
    seconds = {"rollout": 0.0, "reward": 0.0}
    groups = late._sample(2, 0, PROBLEMS[:GROUPS], seconds)
    assert tuple(text for group in groups for text in group.texts) == steps[2]
    late.rl_cluster.close()


def test_copies_of_a_prompt_get_different_samples(finished: Finished) -> None:
    for records in finished.seen.rollouts:
        for start in range(0, GROUPS * G, G):
            assert len({record["completion"] for record in records[start : start + G]}) > 1


def test_old_log_probabilities_are_those_of_the_rollout(updates: Updates, tmp_path: Path) -> None:
    """At its temperature, so that the first of two updates has ratios of exactly 1."""
    stage = replace(
        STAGE, num_iterations=2, temperature=1.5, max_steps=2, epsilon=1e-3, learning_rate=0.3
    )
    seen = train(new_trainer(tmp_path, stage))
    assert updates.first == [True, False, True, False]
    for first in (0, 2):
        assert updates.metrics[first]["clip_fraction"] == 0
        assert updates.metrics[first + 1]["clip_fraction"] > 0
        np.testing.assert_array_equal(updates.old[first + 1], updates.scores[first])
        sampled = [p for record in seen.rollouts[first // 2] for p in record["log_probs"]]
        trained = updates.scores[first][updates.rows[first]["mask"]]
        np.testing.assert_allclose(trained, sampled, atol=2e-4)


def test_the_end_token_is_trained_on(updates: Updates, tmp_path: Path) -> None:
    policy = ending_policy()
    seen = train(new_trainer(tmp_path, policy=policy))
    ended = 0
    for rows, records in zip(updates.rows, seen.rollouts, strict=True):
        trained = rows["tokens"][rows["mask"]].tolist()
        assert trained == [token for record in records for token in record["tokens"]]
        assert (rows["weights"][rows["mask"]] > 0).all()
        for record in records:
            is_end = record["tokens"][-1] in policy.tokenizer.end_ids
            assert is_end == (not record["truncated"])
            ended += is_end
    assert ended > 0


def test_truncated_completions_can_be_left_out(updates: Updates, tmp_path: Path) -> None:
    stage = replace(STAGE, mask_truncated=True)
    seen = train(new_trainer(tmp_path, stage, policy=ending_policy()))
    finished_tokens = 0
    for rows, records in zip(updates.rows, seen.rollouts, strict=True):
        expected = [not r["truncated"] for r in records for _ in r["tokens"]]
        assert ((rows["weights"][rows["mask"]] > 0) == expected).all()
        finished_tokens += sum(expected)
        assert not all(expected)
    assert finished_tokens > 0


def test_without_beta_there_is_no_reference_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    score = grpo_step.log_probs_of_rows

    def counted(*args: Any, **static: Any) -> Any:
        calls.append(1)
        return score(*args, **static)

    monkeypatch.setattr(grpo_step, "log_probs_of_rows", counted)
    stage = replace(STAGE, max_steps=2)
    without = train(new_trainer(tmp_path / "without", replace(stage, beta=0.0)))
    assert not calls
    assert all("train/kl" not in step for step in without.metrics)
    measured = train(new_trainer(tmp_path / "with", stage))
    assert len(calls) == 2
    kls = [step["train/kl"] for step in measured.metrics]
    assert kls[0] == pytest.approx(0, abs=1e-5)  # the reference is where training began
    assert kls[1] > 1e-5


def test_updates_draw_the_policy_to_the_reference(updates: Updates, tmp_path: Path) -> None:
    """Rewards that teach nothing leave the KL divergence alone to learn from."""
    stage = replace(STAGE, beta=1.0, num_iterations=8, max_steps=1, learning_rate=0.02)
    trainer = new_trainer(
        tmp_path,
        stage,
        reference=random_lora(ARCH, LORA),
        judge=lambda attempts: Verdicts(np.zeros(len(attempts))),
    )
    train(trainer)
    kls = [update["kl"] for update in updates.metrics]
    assert len(kls) == 8
    assert kls[-1] < 0.7 * kls[0]


def test_k1_in_the_reward_lowers_rewards_of_drifted_samples(
    updates: Updates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a reference that gives every token log p = -1."""
    monkeypatch.setattr(
        grpo_step,
        "log_probs_of_rows",
        lambda params, base, rows, *_, **__: jnp.where(rows["mask"], -1.0, 0.0),
    )
    stage = replace(STAGE, kl_estimator="k1_in_reward", beta=0.5, max_steps=1)
    seen = train(new_trainer(tmp_path, stage))
    k1 = np.array([np.sum(np.array(r["log_probs"]) + 1) for r in seen.records])
    rewards = np.array([r["reward"] for r in seen.records])
    penalised = (rewards - 0.5 * k1).reshape(GROUPS, G)
    expected = advantages.group_advantages(penalised, normalise_by_std=True)
    found = np.array([r["advantage"] for r in seen.records])
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-4)
    assert seen.metrics[0]["reward/kl_penalty"] == pytest.approx(-0.5 * k1.mean(), rel=1e-4)
    assert updates.beta == [0.0]  # and no k3 in the loss


def dead_for_even(attempts: Sequence[Attempt]) -> Verdicts:
    """Equal rewards for problems with an even id, else all different ones."""
    return Verdicts(
        np.array(
            [n / 100 if int(a.example.id) % 2 else 0.0 for n, a in enumerate(attempts)], np.float64
        )
    )


class Planned(Unmixed):
    """Two of four problems are dead (even ids); one spare one is live at first, then all are."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def batch(self, step: int) -> list[Example]:
        return [PROBLEMS[n] for n in (0, 1, 2, 3)]

    def spare(self, step: int, attempt: int) -> list[Example]:
        self.asked.append((step, attempt))
        return [PROBLEMS[n] for n in ((5, 4, 6, 8) if attempt == 0 else (7, 9, 11, 1))]


@pytest.mark.parametrize(
    ("times", "asked", "used"),
    [(0, [], "1023"), (1, [(0, 0)], "1350"), (3, [(0, 0), (0, 1)], "1357")],
)
def test_dead_groups_are_counted_and_replaced_until_all_are_live(
    times: int, asked: list[tuple[int, int]], used: str, tmp_path: Path
) -> None:
    stage = replace(STAGE, resample_dead_groups=times, max_steps=1)
    batches = Planned()
    seen = train(new_trainer(tmp_path, stage, judge=dead_for_even, batches=batches))
    [metrics] = seen.metrics
    assert batches.asked == asked
    assert metrics["groups/dead"] == metrics["groups/all_wrong"] == 0.5
    assert metrics["groups/resampled"] == len(asked)
    assert sorted(record["example_id"] for record in seen.records[::G]) == sorted(used)
    dead = [r for r in seen.records if int(r["example_id"]) % 2 == 0]
    assert all(record["advantage"] == 0 for record in dead)


def test_dead_groups_alone_change_nothing_without_beta(tmp_path: Path) -> None:
    stage = replace(STAGE, beta=0.0, max_steps=2)
    trainer = new_trainer(tmp_path, stage, judge=lambda a: Verdicts(np.ones(len(a))))
    before = jax.tree.map(np.array, trainer.policy.params)
    seen = train(trainer)
    jax.tree.map(np.testing.assert_array_equal, trainer.policy.params, before)
    assert [step["groups/all_right"] for step in seen.metrics] == [1.0, 1.0]


@dataclass
class Spoiled:
    """Gives one completion of the step `at` (from 1) a reward that is no number."""

    at: int = 2
    value: float = float("nan")
    calls: int = 0
    offender: Attempt | None = None

    def __call__(self, attempts: Sequence[Attempt]) -> Verdicts:
        self.calls += 1
        total = share_of_small_letters(attempts).total + np.arange(len(attempts)) / 997
        if self.calls == self.at:
            total[G + 2] = self.value
            self.offender = attempts[G + 2]
        return Verdicts(total)


def test_a_reward_that_is_no_number_stops_training_and_shows_the_sample(tmp_path: Path) -> None:
    judge = Spoiled()
    trainer = new_trainer(tmp_path, judge=judge)
    before = jax.tree.map(np.array, trainer.policy.params)
    with pytest.raises(NotANumberError, match=r"(?s)step 2: .*stage\.on_nan=skip") as error:
        train(trainer, 1, lambda: before.update(jax.tree.map(np.array, trainer.policy.params)))
    [record] = error.value.records
    assert judge.offender is not None
    assert record["step"] == 2
    assert record["completion"] == judge.offender.completion
    assert record["question"] == judge.offender.example.question
    assert np.isnan(record["reward/lower"])
    jax.tree.map(np.testing.assert_array_equal, trainer.policy.params, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_group_with_a_reward_that_is_no_number_can_be_skipped(
    value: float, updates: Updates, tmp_path: Path
) -> None:
    trainer = new_trainer(
        tmp_path, replace(STAGE, on_nan="skip", max_steps=3), judge=Spoiled(value=value)
    )
    seen = train(trainer)
    assert [step["groups/not_a_number"] for step in seen.metrics] == [0, 1 / GROUPS, 0]
    assert all(np.isfinite(list(step.values())).all() for step in seen.metrics)
    assert all(np.isfinite(x).all() for x in everything(trainer))
    [spoiled] = {r["example_id"] for r in seen.rollouts[1] if not np.isfinite(r["reward"])}
    in_group = [r["example_id"] == spoiled for r in seen.rollouts[1] for _ in r["tokens"]]
    weighted = updates.rows[1]["weights"][updates.rows[1]["mask"]] > 0
    assert (weighted != in_group).all()
    for record in seen.rollouts[1]:
        assert (record["advantage"] == 0) == (record["example_id"] == spoiled)
    assert [update["skipped"] for update in updates.metrics] == [0, 0, 0]


def spoil_advantages(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Make the advantages of one step NaN, and so its loss and gradient."""
    calls = []

    def spoiled(rewards: Any, *, normalise_by_std: bool) -> npt.NDArray[np.float64]:
        calls.append(1)
        found = advantages.group_advantages(rewards, normalise_by_std=normalise_by_std)
        return found * np.nan if len(calls) == at else found

    monkeypatch.setattr(grpo, "group_advantages", spoiled)


def test_a_gradient_that_is_no_number_stops_training_and_shows_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_advantages(monkeypatch, at=2)
    trainer = new_trainer(tmp_path, replace(STAGE, checkpoint_every=1))
    with pytest.raises(NotANumberError, match=r"gradient of step 2.*learning_rate") as error:
        train(trainer)
    assert len(error.value.records) == GROUPS * G
    assert {record["step"] for record in error.value.records} == {2}
    trainer.actor.checkpoint_manager.close()
    assert new_trainer(tmp_path).steps_done == 1


def test_an_update_that_is_no_number_can_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_advantages(monkeypatch, at=2)
    trainer = new_trainer(tmp_path, replace(STAGE, on_nan="skip", max_steps=3))
    states: list[list[npt.NDArray[Any]]] = []
    seen = Seen()
    trainer.fit(
        lambda step, metrics: seen.metrics.append(dict(metrics)),
        after_step=lambda step: states.append([np.array(x) for x in everything(trainer)]),
    )
    assert [step["train/skipped_updates"] for step in seen.metrics] == [0, 1, 0]
    assert_same_bits(states[1], states[0])
    assert any((a != b).any() for a, b in zip(states[1], states[2], strict=True))
    assert all(np.isfinite(x).all() for x in states[2])
