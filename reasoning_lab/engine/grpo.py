"""GRPO on Tunix's RLCluster and GRPOLearner: their loop and checkpoints; our rollouts and our step.

What is plugged in where:
- `rollout_engine`: PolicyRollout (engine/rollout.py).
- `_generate_and_compute_advantage`: rewards that must be numbers, advantages, dynamic sampling,
  reference log-probabilities, rows. Stock Tunix counts a reward of NaN as 0.
- `RLCluster._actor_trainer`: a trainer whose step is engine/grpo_step.py.
- The data iterator begins at the step of the checkpoint. Stock Tunix pulls and discards the batches
  before it, num_iterations times too many (github.com/google/tunix issue 2290).
"""

import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
import numpy.typing as npt
from flax import nnx
from tunix.rl import rl_cluster
from tunix.rl.grpo import grpo_learner
from tunix.rl.rollout import base_rollout

from reasoning_lab.data.example import Example
from reasoning_lab.engine import grpo_step, hosts, layout
from reasoning_lab.engine.advantages import group_advantages
from reasoning_lab.engine.grpo_batch import Rows, RowShape, loss_weights, pack_groups
from reasoning_lab.engine.grpo_cluster import (
    Actor,
    AfterStep,
    Cluster,
    NotANumberError,
    OnRollouts,
    OnStep,
    nothing,
)
from reasoning_lab.engine.grpo_groups import (
    Floats,
    Group,
    Step,
    domain_metrics,
    group_metrics,
    live_shares,
    rollout_metrics,
)
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.lora import Params
from reasoning_lab.engine.memory import naming_memory
from reasoning_lab.engine.models import Policy
from reasoning_lab.engine.rollout import PolicyRollout
from reasoning_lab.formats import render_prompt
from reasoning_lab.rewards.specs import Attempt
from reasoning_lab.stages.specs import GRPOSpec


class Verdicts(Protocol):
    """What attempts [M] are worth; see rewards/scoring.py.

    correct: 1 for a right answer, 0 for a wrong one, NaN where nothing decides.
    """

    @property
    def components(self) -> Mapping[str, Floats]: ...
    @property
    def total(self) -> Floats: ...
    @property
    def finite(self) -> npt.NDArray[np.bool_]: ...
    @property
    def correct(self) -> Floats: ...
    @property
    def too_slow(self) -> Sequence[str]: ...


class Batches(Protocol):
    """Problems of each step, from 0; see data/prompts.py."""

    def batch(self, step: int) -> list[Example]: ...
    def spare(self, step: int, attempt: int) -> list[Example]: ...
    def shares(self, step: int) -> dict[str, float]: ...
    def observe(self, step: int, live: Mapping[str, float]) -> None: ...


Judge = Callable[[Sequence[Attempt]], Verdicts]


class GRPOTrainer(grpo_learner.GRPOLearner):
    """Trains the LoRA weights of a Policy; goes on from the newest checkpoint in `checkpoint_dir`.

    Args:
        policy: its LoRA weights are the start; they are updated in place.
        reference: LoRA weights of the frozen policy that KL is measured from, on the same base.
        batches: the problems of each step.
        judge: scores completions.
        rows_at_once: rows of one micro-batch over all devices.
        generation_batch_size: completions sampled at once.
        execution: how the programs of a step are computed.
        seed: with the step it decides all samples.
    """

    def __init__(
        self,
        policy: Policy,
        reference: Params,
        stage: GRPOSpec,
        *,
        batches: Batches,
        judge: Judge,
        rows_at_once: int,
        generation_batch_size: int,
        execution: Execution,
        checkpoint_dir: Path,
        seed: int,
    ) -> None:
        self.policy = policy
        self.stop_requested = False
        self._reference = reference
        self._stage = stage
        self._batches = batches
        self._judge = judge
        self._seed = seed
        self._execution = execution
        self._too_slow: Counter[str] = Counter()  # rewards, in the step that is being sampled
        self._shape = RowShape.of(stage, rows_at_once)
        self._rollout_config = base_rollout.RolloutConfig(
            max_tokens_to_generate=stage.max_completion_length,
            max_prompt_length=stage.max_prompt_length,
            temperature=stage.temperature,
            top_p=stage.top_p,
            top_k=stage.top_k,
        )
        rollout = functools.partial(
            PolicyRollout,
            policy=policy,
            num_generations=stage.num_generations,
            batch_size=generation_batch_size,
            end_after_answer=stage.end_after_answer,
        )
        cluster = Cluster(policy, stage, self._rollout_config, rollout)
        self.actor = Actor(policy, stage, execution=execution, checkpoint_dir=checkpoint_dir)
        cluster.use(self.actor)
        config = grpo_learner.GRPOConfig(
            num_generations=stage.num_generations,
            num_iterations=stage.num_iterations,
            beta=stage.beta,
            kl_loss_mode="low_var_kl",
            epsilon=stage.epsilon,
        )
        with _without_absl_warnings():
            super().__init__(cluster, config, reward_fns=[_judged_elsewhere])
        self._iter_steps = self._last_iter_step  # nothing to fast-forward: see _data

    @property
    def steps_done(self) -> int:
        return self.actor.steps_done

    @property
    def checkpoint_bytes(self) -> int:
        """Size of one checkpoint: LoRA weights and optimizer state."""
        state = (self.policy.params, nnx.as_pure(self.actor.optimizer.opt_state))
        return sum(leaf.nbytes for leaf in jax.tree.leaves(state))

    def fit(
        self,
        on_step: OnStep = nothing,
        on_rollouts: OnRollouts = nothing,
        after_step: AfterStep = nothing,
        *,
        stop_at: int | None = None,
    ) -> int:
        """Train to the last step or until `stop_requested`, save, and return the steps done.

        Args:
            stop_at: the step to end after as if a stop had been requested; None for the last.
            on_step: called with a step's number (from 1) and metrics.
            on_rollouts: called with a step's number and rollouts every `stage.rollouts_every`.
            after_step: called with a step's number once its weights are in the policy.

        Raises:
            NotANumberError: a reward or gradient is no finite number, and stage.on_nan=stop.
        """
        self.actor.sinks = (on_step, on_rollouts, after_step)
        data = self._data(stop_at)
        first = next(data, None)
        if first is None:
            self.rl_cluster.close()
        else:
            self.train(chain([first], data), skip_jit=True)
        return self.steps_done

    def _data(self, stop_at: int | None) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """What Tunix's loop pulls for every step; resumed runs begin where they are."""
        last = min(self._stage.max_steps, stop_at or self._stage.max_steps)
        for step in range(self.steps_done, last):
            if self.stop_requested:
                return
            # The step's problems are asked for when it begins: those of an adaptive mix depend on
            # the step before, and Tunix looks ahead.
            size = self._stage.batch_size
            yield {"prompts": np.full(size, f"step {step}"), "step": np.full(size, step)}

    def _generate_and_compute_advantage(
        self, training_input: Any, mode: rl_cluster.Mode = rl_cluster.Mode.TRAIN
    ) -> Step:
        begun = time.perf_counter()
        number = int(training_input["step"][0])
        seconds = {"rollout": 0.0, "reward": 0.0}
        self._too_slow.clear()
        groups = self._sample(number, 0, self._batches.batch(number), seconds)
        shares = self._batches.shares(number)
        sampled = {
            **group_metrics(groups),
            **{f"domain/{domain}/share": 0.0 for domain in shares},  # of those not drawn
            **domain_metrics(groups),
            **{f"domain/{domain}/wanted": share for domain, share in shares.items()},
        }
        self._batches.observe(number, live_shares(groups))
        groups, resampled = self._replace_dead(number, groups, seconds)
        metrics = {
            **sampled,
            "groups/resampled": float(resampled),
            **{f"reward_timeouts/{name}": float(n) for name, n in self._too_slow.items()},
            **rollout_metrics(groups),
        }
        prepared = self._prepare(number, groups, metrics)
        seconds["reference"] = time.perf_counter() - begun - seconds["rollout"] - seconds["reward"]
        tokens = metrics["completion/length"] * len(groups) * self._stage.num_generations
        metrics |= {f"time/{phase}": spent for phase, spent in seconds.items()}
        metrics["speed/rollout_tokens_per_second"] = tokens / seconds["rollout"]
        return prepared

    def _sample(
        self, step: int, attempt: int, problems: Sequence[Example], seconds: dict[str, float]
    ) -> list[Group]:
        """Sample and judge a group for each problem, adding up the time it takes."""
        G = self._stage.num_generations
        # Stock Tunix takes one key for all steps unless it is changed between them.
        key = jax.random.fold_in(jax.random.key(self._seed), step)
        self._rollout_config.seed = jax.random.fold_in(key, attempt)
        begun = time.perf_counter()
        with naming_memory("rollout"):
            output = self.rl_cluster.generate(
                [render_prompt(p.question) for p in problems for _ in range(G)]
            )
        truncated = self.rl_cluster.rollout.truncated
        sampled = time.perf_counter()
        attempts = [
            Attempt(problem, output.text[row * G + i], truncated[row * G + i])
            for row, problem in enumerate(problems)
            for i in range(G)
        ]
        verdicts = self._judge(attempts)
        self._too_slow.update(verdicts.too_slow)
        # Rewards may depend on time, and all hosts must train on the same.
        total, finite, correct, components = hosts.as_first_has_it(
            (verdicts.total, verdicts.finite, verdicts.correct, dict(verdicts.components))
        )
        seconds["rollout"] += sampled - begun
        seconds["reward"] += time.perf_counter() - sampled
        groups = []
        for row, problem in enumerate(problems):
            part = slice(row * G, (row + 1) * G)
            groups.append(
                Group(
                    problem=problem,
                    prompt=self.policy.tokenizer.prompt(render_prompt(problem.question)),
                    texts=output.text[part],
                    tokens=[tokens.tolist() for tokens in output.tokens[part]],
                    log_probs=[scores.tolist() for scores in output.logprobs[part]],
                    truncated=np.array(truncated[part]),
                    rewards=total[part],
                    components={name: v[part] for name, v in components.items()},
                    finite=finite[part],
                    correct=correct[part],
                )
            )
        self._stop_at_nan(step, groups)
        return groups

    def _stop_at_nan(self, step: int, groups: Sequence[Group]) -> None:
        bad = [
            {
                "step": step + 1,
                "question": group.problem.question,
                "completion": group.texts[i],
                **group.parts(i),
            }
            for group in groups
            for i in np.flatnonzero(~group.finite).tolist()
        ]
        if bad and self._stage.on_nan == "stop":
            raise NotANumberError(
                f"step {step + 1}: the reward of {len(bad)} completions is no finite number, first "
                f"of\n{bad[0]}\nMend the reward, or leave such groups out: stage.on_nan=skip.",
                bad,
            )

    def _replace_dead(
        self, step: int, groups: list[Group], seconds: dict[str, float]
    ) -> tuple[list[Group], int]:
        """Dynamic sampling (DAPO, arXiv 2503.14476) by whole groups; and how many were replaced."""
        if not self._stage.resample_dead_groups:
            return groups, 0
        live = [group for group in groups if not group.teaches_nothing]
        before = len(live)
        for attempt in range(self._stage.resample_dead_groups):
            if len(live) == len(groups):
                break
            fresh = self._sample(step, attempt + 1, self._batches.spare(step, attempt), seconds)
            live += [group for group in fresh if not group.teaches_nothing]
            live = live[: len(groups)]
        dead = [group for group in groups if group.teaches_nothing]
        return [*live, *dead][: len(groups)], len(live) - before

    def _prepare(self, number: int, groups: list[Group], metrics: dict[str, float]) -> Step:
        stage, G = self._stage, self._stage.num_generations
        rewards = np.array([g.rewards for g in groups])
        usable = np.array([g.finite.all() for g in groups])
        rewards[~usable] = 0.0  # a dead group, without weight below
        advantages = group_advantages(rewards, normalise_by_std=stage.normalise_by_std)
        lengths = np.array([[len(tokens) for tokens in g.tokens] for g in groups])
        weights = loss_weights(lengths.ravel(), stage.loss_aggregation, stage.max_completion_length)
        weights = weights.reshape(lengths.shape) * usable[:, None]
        if stage.mask_truncated:
            weights = weights * ~np.array([g.truncated for g in groups])
        # A dead group has a gradient only by its distance from the reference.
        packed = [
            row for row, group in enumerate(groups) if stage.beta or not group.teaches_nothing
        ]
        rows = pack_groups(
            [(groups[row].prompt, groups[row].tokens) for row in packed], self._shape
        )
        arrays = self._on_devices(rows.arrays)
        reference = self._reference_log_probs(rows, arrays)
        if stage.kl_estimator == "k1_in_reward" and stage.beta:
            log_probs = rows.spread_tokens([g for row in packed for g in groups[row].log_probs])
            k1 = rows.sum_of_completions(log_probs - layout.on_host(reference)).reshape(-1, G)
            penalised = np.where(usable[:, None], rewards - stage.beta * k1, 0.0)
            advantages = group_advantages(penalised, normalise_by_std=stage.normalise_by_std)
            metrics["reward/kl_penalty"] = float(-stage.beta * k1.mean())
        arrays |= self._on_devices(
            {
                "advantages": rows.spread(advantages[packed].ravel()),
                "weights": rows.spread(weights[packed].ravel()),
            }
        )
        metrics |= {
            "advantage/std": float(advantages.std()),
            "advantage/min": float(advantages.min()),
            "advantage/max": float(advantages.max()),
            "advantage/positive": float((advantages > 0).mean()),
        }
        return Step(
            number=number,
            groups=groups,
            advantages=advantages,
            rows=arrays,
            used=rows.used,
            reference=reference,
            metrics=metrics,
        )

    def _reference_log_probs(self, rows: Rows, arrays: grpo_step.Rows) -> jax.Array:
        if not self._stage.beta:
            return jax.numpy.zeros(arrays["tokens"].shape, jax.numpy.float32)
        with naming_memory("reference"):
            scores: jax.Array = grpo_step.log_probs_of_rows(
                self._reference,
                self.policy.base,
                arrays,
                rows.used,
                np.float32(self.policy.lora_scale),
                np.float32(self._stage.temperature),
                arch=self.policy.arch,
                target_modules=self.policy.target_modules,
                execution=self._execution,
            )
            scores.block_until_ready()
        return scores

    def _on_devices(self, arrays: Any) -> grpo_step.Rows:
        sharded: grpo_step.Rows = layout.shard_rows(arrays, self.policy.mesh, axis=1)
        return sharded


@contextmanager
def _without_absl_warnings() -> Iterator[None]:
    """Tunix warns of every processor that it is no TPU whose memory it could show."""
    absl = logging.getLogger("absl")
    before = absl.level
    absl.setLevel(logging.ERROR)
    try:
        yield
    finally:
        absl.setLevel(before)


def _judged_elsewhere(**_: Any) -> None:
    raise AssertionError("Tunix's reward manager is not used: see _generate_and_compute_advantage")
