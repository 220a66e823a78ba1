"""Every cheat against every domain that the rewards are for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.formats import render_completion
from reasoning_lab.rewards.lint.cheats import CHEATS, Cheat
from reasoning_lab.rewards.lint.code_cheats import CODE_CHEATS
from reasoning_lab.rewards.lint.problem import Problem
from reasoning_lab.rewards.lint.problems import PROBLEMS
from reasoning_lab.rewards.scoring import prepare, score_attempts
from reasoning_lab.rewards.specs import Attempt, Reward

ALL_CHEATS = (*CHEATS, *CODE_CHEATS)

WINNING_SHARE = 0.6
"""A cheat wins with this share of what honest answers earn,"""
WINNING_SHARE_IF_RIGHT = 0.9
"""or with this one if it holds an honest answer and is a cheat by its form alone."""

_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Earned:
    """What completions earn in one domain: their mean, their maximum, and each part's mean."""

    mean: float
    maximum: float
    components: dict[str, float]


@dataclass(frozen=True)
class Finding:
    """One cheat in one domain.

    share: what the parts that may see the cheat give it, as a share of what they give honest
        answers; of a penalty, which those do not pay, 1 minus what the cheat pays. None if no part
        may see it: all say in their docstrings that they cannot.
    wins: whether the share is too large.
    completion: one of the cheat's completions.
    """

    cheat: Cheat
    domain: str
    earned: Earned
    share: float | None
    wins: bool
    completion: str

    @property
    def seen(self) -> bool:
        return self.share is not None


@dataclass(frozen=True)
class Report:
    """What rewards give to honest answers, by domain, and to every cheat, the worst first."""

    rewards: Mapping[str, Reward]
    honest: dict[str, Earned]
    findings: tuple[Finding, ...]

    @property
    def wins(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.wins]


def lint(rewards: Mapping[str, Reward]) -> Report:
    """Let the rewards score honest answers and cheats.

    Raises:
        ConfigError: a reward cannot be used, or none is for a domain that there are problems of.
        RunError: a reward failed, was too slow, or gave what is no number.
    """
    prepare(rewards)
    honest: dict[str, Earned] = {}
    findings: list[Finding] = []
    for domain in _domains(rewards):
        parts = {name: part for name, part in rewards.items() if part.is_for(domain)}
        honest[domain], found = _lint_domain(parts, domain)
        findings += found
    return Report(rewards, honest, tuple(sorted(findings, key=_worst_first)))


def _worst_first(finding: Finding) -> tuple[bool, bool, float]:
    share = finding.earned.mean if finding.share is None else finding.share
    return (not finding.wins, not finding.seen, -share)


def _domains(rewards: Mapping[str, Reward]) -> list[str]:
    """Those that some part is made for; all, if each part is for all."""
    wanted = [part.domains or part.made_for for part in rewards.values()]
    named = {domain for domains in wanted if domains for domain in domains} or set(PROBLEMS)
    if found := [domain for domain in PROBLEMS if domain in named]:
        return found
    keys = [f"reward.{name}.domains" for name, part in rewards.items() if part.domains]
    raise ConfigError(
        f"{keys[0]}={','.join(sorted(named))}: the lint has problems of {', '.join(PROBLEMS)} "
        f"only. Add one of them, such as {keys[0]}=[math], or use {keys[0]}=null.",
        keys=keys,
    )


def _lint_domain(parts: Mapping[str, Reward], domain: str) -> tuple[Earned, list[Finding]]:
    """All completions are scored in one call, as in training."""
    problems = PROBLEMS[domain]
    honest = [
        Attempt(problem.example, render_completion(one.reasoning, one.answer), False)
        for problem in problems
        for one in problem.honest
    ]
    cheating = {cheat: list(_attempts(cheat, problems)) for cheat in ALL_CHEATS}
    cheating = {cheat: attempts for cheat, attempts in cheating.items() if attempts}
    attempts = [*honest, *(attempt for some in cheating.values() for attempt in some)]
    earned = _score(parts, attempts)
    best = _earned(parts, earned[: len(honest)])
    findings, start = [], len(honest)
    for cheat, some in cheating.items():
        end = start + len(some)
        got = _earned(parts, earned[start:end])
        findings.append(_finding(cheat, domain, parts, got, best, some[0].completion))
        start = end
    return best, findings


def _attempts(cheat: Cheat, problems: Sequence[Problem]) -> Iterator[Attempt]:
    for index, problem in enumerate(problems):
        completion = cheat.write(problem, problems[index - 1])
        if completion is not None:
            yield Attempt(problem.example, completion, False)


def _score(parts: Mapping[str, Reward], attempts: Sequence[Attempt]) -> list[dict[str, float]]:
    """Each attempt's components, without their weights."""
    scores = score_attempts(parts, attempts, timeout_seconds=_TIMEOUT_SECONDS)
    if scores.too_slow:
        raise RunError(
            f"reward.{scores.too_slow[0]} did not score {len(attempts)} completions within "
            f"{_TIMEOUT_SECONDS:g} s. Training would be as slow: make it quicker."
        )
    if not scores.finite.all():
        index = int(np.argmin(scores.finite))
        given = {name: float(component[index]) for name, component in scores.components.items()}
        raise RunError(
            f"The rewards {given} of this completion are no number:\n"
            f"{attempts[index].completion[:300]!r}"
        )
    return [
        {name: float(component[index]) for name, component in scores.components.items()}
        for index in range(len(attempts))
    ]


def _earned(parts: Mapping[str, Reward], scored: Sequence[dict[str, float]]) -> Earned:
    totals = [_sum(parts, components) for components in scored]
    return Earned(
        mean=sum(totals) / len(totals),
        maximum=max(totals),
        components={name: sum(one[name] for one in scored) / len(scored) for name in parts},
    )


def _sum(parts: Mapping[str, Reward], components: Mapping[str, float]) -> float:
    return sum(part.weight * components[name] for name, part in parts.items())


def _finding(
    cheat: Cheat,
    domain: str,
    parts: Mapping[str, Reward],
    earned: Earned,
    honest: Earned,
    completion: str,
) -> Finding:
    """Parts that cannot see a cheat are left out: they pay it as they pay honest answers."""
    seeing = {name: part for name, part in parts.items() if part.may_see(cheat.name)}
    got, best = _sum(seeing, earned.components), _sum(seeing, honest.components)
    if not seeing:
        return Finding(cheat, domain, earned, None, False, completion)
    whole = best if best > 0 else sum(part.weight for part in seeing.values())
    share = 1 - (best - got) / whole
    limit = WINNING_SHARE_IF_RIGHT if cheat.right else WINNING_SHARE
    return Finding(cheat, domain, earned, share, share >= limit, completion)
