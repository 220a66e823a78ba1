"""What one step of GRPO samples, and what is reported of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from reasoning_lab.data.example import Example
from reasoning_lab.engine.advantages import count_groups, is_dead
from reasoning_lab.engine.grpo_step import Rows
from reasoning_lab.formats import parse

Floats = npt.NDArray[np.float64]
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Group:
    """One problem and its G completions."""

    problem: Example
    prompt: list[int]
    texts: list[str]
    tokens: list[list[int]]  # with the end token where it was sampled
    log_probs: list[list[float]]
    truncated: npt.NDArray[np.bool_]
    rewards: Floats
    components: dict[str, Floats]
    finite: npt.NDArray[np.bool_]
    correct: Floats  # 1, 0, or NaN where nothing decides

    @property
    def teaches_nothing(self) -> bool:
        """All rewards are exactly equal, or one is no number."""
        return not self.finite.all() or bool(is_dead(self.rewards[None])[0])

    def parts(self, i: int) -> dict[str, float]:
        """The i-th completion's own score by each reward that is for this problem's domain."""
        return {
            f"reward/{name}": float(part[i])
            for name, part in self.components.items()
            if not (self.finite[i] and np.isnan(part[i]))
        }


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step's rollouts, ready for its updates. Not a pytree: Tunix hands it on as it is."""

    number: int  # from 0
    groups: list[Group]
    advantages: Floats  # [N, G]
    rows: Rows
    used: int
    reference: jax.Array
    metrics: dict[str, float]

    def records(self) -> list[Record]:
        """One JSON-ready record a completion: all that scoring it again would need."""
        return [
            {
                "step": self.number + 1,
                "example_id": group.problem.id,
                "domain": group.problem.domain,
                "question": group.problem.question,
                "answer": group.problem.answer,
                "completion": group.texts[i],
                "reward": float(group.rewards[i]),
                **group.parts(i),
                "advantage": float(self.advantages[row, i]),
                "correct": None if np.isnan(group.correct[i]) else bool(group.correct[i]),
                "truncated": bool(group.truncated[i]),
                "tokens": group.tokens[i],
                "log_probs": group.log_probs[i],
            }
            for row, group in enumerate(self.groups)
            for i in range(len(group.texts))
        ]


def group_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Shares of the groups that teach nothing, and why."""
    rewards = np.array([group.rewards for group in groups])
    counts = count_groups(rewards, np.array([group.correct for group in groups]))
    return {
        "groups/dead": counts.dead / counts.count,
        "groups/all_right": counts.all_right / counts.count,
        "groups/all_wrong": counts.all_wrong / counts.count,
        "groups/all_equal": counts.all_equal / counts.count,
        "groups/not_a_number": float(np.mean([not g.finite.all() for g in groups])),
    }


def rollout_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Means over all completions of a step; of rewards, over those that are numbers.

    Where nothing decides whether an answer is right, it does not count in rollout/correct; where
    that is so of all answers, there is no such metric. The same for rewards that are for other
    domains.
    """
    lengths = np.array([len(tokens) for group in groups for tokens in group.tokens])
    rewards = np.array([group.rewards for group in groups])
    usable = rewards[np.isfinite(rewards).all(axis=1)]
    metrics = {
        "reward/total": _mean(rewards),
        "reward/std_in_group": _mean(usable.std(axis=1)),
        "completion/length": float(lengths.mean()),
        "completion/longest": float(lengths.max()),
        "completion/truncated": float(np.mean([group.truncated for group in groups])),
        **_decided("rollout/correct", groups),
    }
    for name in groups[0].components:
        parts = np.array([group.components[name] for group in groups])
        if not np.isnan(parts).all() or not np.isfinite(rewards).all():
            metrics[f"reward/{name}"] = _mean(parts)
    return metrics


def domain_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Each domain's share of the groups, and means over its completions."""
    metrics: dict[str, float] = {}
    live = live_shares(groups)
    for domain in live:
        members = [group for group in groups if group.problem.domain == domain]
        well_formed = [
            parse(text).well_formed and not cut
            for group in members
            for text, cut in zip(group.texts, group.truncated, strict=True)
        ]
        metrics |= {
            f"domain/{domain}/share": len(members) / len(groups),
            f"domain/{domain}/reward": _mean(np.array([group.rewards for group in members])),
            f"domain/{domain}/live": live[domain],
            f"domain/{domain}/well_formed": float(np.mean(well_formed)),
            f"domain/{domain}/length": float(
                np.mean([len(tokens) for group in members for tokens in group.tokens])
            ),
            **_decided(f"domain/{domain}/correct", members),
        }
    return metrics


def live_shares(groups: Sequence[Group]) -> dict[str, float]:
    """Of each domain's groups, the share that teaches something."""
    teaches: dict[str, list[bool]] = {}
    for group in groups:
        teaches.setdefault(group.problem.domain, []).append(not group.teaches_nothing)
    return {domain: float(np.mean(of_domain)) for domain, of_domain in teaches.items()}


def _decided(name: str, groups: Sequence[Group]) -> dict[str, float]:
    """The share of right answers among those that something decides; nothing if there are none."""
    correct = np.array([group.correct for group in groups])
    return {} if np.isnan(correct).all() else {name: float(np.nanmean(correct))}


def _mean(values: Floats) -> float:
    """Of those that are finite; NaN if none is."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
