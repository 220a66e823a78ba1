"""What runs are ranked by: one number a run, and what each held-out problem adds to it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from statistics import fmean
from typing import Literal

import numpy as np

from reasoning_lab.compare.comparison import Answer, ComparedRun, Metric
from reasoning_lab.config import ConfigError

SCORE = "score"
_OF_ANSWERS = ("correct", "well_formed", "reward", "truncated")
_LESS_IS_BETTER = re.compile(r"loss|truncated|kl\b|grad_norm|seconds|^time/|dead|all_wrong")

Kind = Literal["correct", "well_formed", "reward", "truncated"]
_VALUE: Mapping[Kind, Callable[[Answer], float | None]] = {
    "correct": lambda one: one.correct,
    "well_formed": lambda one: one.well_formed,
    "reward": lambda one: one.reward,
    "truncated": lambda one: one.truncated,
}


@dataclass(frozen=True)
class Scoring:
    """A metric, and how a run gets its value.

    kinds: what counts of the answers in each domain; None for a series of metrics.jsonl.
    by_domain: whether domains count the same, whatever the number of their problems.
    notes: what a reader must know of the choice, in sentences.
    """

    metric: Metric
    kinds: Mapping[str, Kind] | None
    by_domain: bool = False
    notes: tuple[str, ...] = ()

    def of(self, run: ComparedRun) -> float | None:
        """The run's value; None where it has not ended, or has no such value."""
        if self.kinds is None:
            series = run.series.get(self.metric.name)
            if run.state != "done" and not run.answers:
                return None
            last = float("nan") if series is None else float(series.values[-1])
            return last if np.isfinite(last) else None
        values = self.of_problems(run)
        if not values:
            return None
        if not self.by_domain:
            return fmean(value for _, value in values.values())
        domains = dict.fromkeys(domain for domain, _ in values.values())
        return fmean(
            fmean(value for domain, value in values.values() if domain == one) for one in domains
        )

    def before(self, run: ComparedRun) -> dict[str, tuple[str, float]]:
        """As `of_problems`, of the model that the run's training began with."""
        name = run.start_name
        return (
            {}
            if name is None
            else self.of_problems(replace(run, answers={name: run.answers[name]}))
        )

    def of_problems(self, run: ComparedRun) -> dict[str, tuple[str, float]]:
        """Domain and value of each problem that counts, by its id; none for a series."""
        found = {}
        for answer in run.trained if self.kinds else ():
            kind = (self.kinds or {}).get(answer.domain)
            value = None if kind is None else _VALUE[kind](answer)
            if value is not None:
                found[answer.example_id] = (answer.domain, float(value))
        return found


def choose_scoring(
    runs: Sequence[ComparedRun], name: str | None, *, lower_is_better: bool = False
) -> Scoring:
    """How to rank the runs: by the named metric or, by default, as the lab chooses models.

    Raises:
        ConfigError: no run has that metric; names those there are.
    """
    if name in (None, SCORE):
        return _default(runs, lower_is_better)
    assert name is not None
    answers = [answer for run in runs for answer in run.trained]
    higher = not (lower_is_better or _LESS_IS_BETTER.search(name))
    for kind, value in _VALUE.items():
        if kind == name and any(value(answer) is not None for answer in answers):
            metric = Metric(name, name.replace("_", " "), higher, name != "reward")
            return Scoring(metric, {answer.domain: kind for answer in answers})
    if any(name in run.series for run in runs):
        values = np.concatenate([run.series[name].values for run in runs if name in run.series])
        finite = values[np.isfinite(values)]
        is_share = bool(re.search(r"correct|well_formed|truncated|share|dead", name))
        is_share = is_share and len(finite) > 0 and bool(((finite >= 0) & (finite <= 1)).all())
        return Scoring(Metric(name, f"{name}, last", higher, is_share), None)
    raise ConfigError(_no_such_metric(name, runs))


def _no_such_metric(name: str, runs: Sequence[ComparedRun]) -> str:
    series = dict.fromkeys(metric for run in runs for metric in run.series)
    known = [SCORE, *_OF_ANSWERS, *series]
    near = get_close_matches(name, known, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"--metric {name}: no run has it.{meant} There are: {', '.join(known)}."


def _default(runs: Sequence[ComparedRun], lower_is_better: bool) -> Scoring:
    """The mean over domains of the share of right answers or, where nothing decides, of reward.

    The same as eval/score in stages/grpo.py. One definition must hold for all runs: a domain
    counts if each run that has it can be scored there in the same way.
    """
    ended = [run for run in runs if run.trained]
    domains = dict.fromkeys(answer.domain for run in ended for answer in run.trained)
    kinds = {domain: _kind(domain, ended) for domain in domains}
    scored = {domain: kind for domain, kind in kinds.items() if kind is not None}
    higher = not lower_is_better
    if domains and not scored:
        note = (
            "Nothing decides which answers are right, and none was rewarded: the runs are compared "
            "by how many answers are well formed."
        )
        metric = Metric("well_formed", "well formed", higher)
        return Scoring(metric, dict.fromkeys(domains, "well_formed"), notes=(note,))
    left_out = [domain for domain in domains if domain not in scored]
    notes = []
    if left_out:
        notes.append(
            f"Left out of the score: {', '.join(left_out)}, where not all runs have answers that "
            "were decided or rewarded."
        )
    label = {"correct": "right answers", "reward": "reward"}
    words = " or ".join(label[kind] for kind in label if kind in scored.values()) or "score"
    if len(scored) > 1:
        words += f", mean of {len(scored)} domains"
    is_share = "reward" not in scored.values()
    return Scoring(Metric(SCORE, words, higher, is_share), scored, True, tuple(notes))


def _kind(domain: str, runs: Iterable[ComparedRun]) -> Kind | None:
    of_runs = [[a for a in run.trained if a.domain == domain] for run in runs]
    of_runs = [answers for answers in of_runs if answers]
    if all(any(one.correct is not None for one in answers) for answers in of_runs):
        return "correct"
    if all(all(one.reward is not None for one in answers) for answers in of_runs):
        return "reward"
    return None
