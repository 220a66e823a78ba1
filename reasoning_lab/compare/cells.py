"""Runs sorted into settings and seeds, and what they earned there."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from reasoning_lab.compare.comparison import Axis, Basis, ComparedRun, Setting
from reasoning_lab.compare.inference import Problems
from reasoning_lab.compare.linear import Fit, blocks, fit_means
from reasoning_lab.compare.scores import Scoring

_LONGEST_LABEL = 80


@dataclass(frozen=True)
class Cells:
    """The settings that have a score, with one score for each of their seeds.

    settings: of each cell, the number of its setting; seeds: of each cell, as `blocks` has them.
    scores: float64[cells].
    means: the model in which the settings' means are estimated.
    floor: a variance below which noise cannot be seen, since scores count few problems.
    problems: what all answered, a row for each cell; None where there is nothing to pair.
    same_problems: whether runs of one seed answered the same; otherwise scores say little.
    """

    settings: tuple[int, ...]
    seeds: tuple[int, ...]
    scores: np.ndarray
    means: Fit
    floor: float
    problems: Problems | None
    same_problems: bool

    @property
    def basis(self) -> Basis | None:
        """What the noise is estimated from: seeds if they can tell, problems if these can."""
        if self.means.freedom > 0:
            return "seeds"
        return None if self.problems is None else "problems"


def settings_of(
    runs: Sequence[ComparedRun],
    axes: Sequence[Axis],
    places: Mapping[str, Mapping[str, str]],
    scoring: Scoring,
) -> list[Setting]:
    """Runs by their place, with their scores but no estimate; without axes all are one setting.

    Args:
        places: by run, its value of each axis.
    """
    members: defaultdict[tuple[str, ...], list[ComparedRun]] = defaultdict(list)
    for run in runs:
        members[tuple(places[run.name][axis.name] for axis in axes)].append(run)
    settings = []
    for values, group in members.items():
        named = {axis.name: value for axis, value in zip(axes, values, strict=True)}
        by_seed: defaultdict[int, list[float]] = defaultdict(list)
        for run in group:
            if (score := scoring.of(run)) is not None:
                by_seed[run.seed].append(score)
        label = " ".join(f"{name}={value}" for name, value in named.items())
        scores = {seed: fmean(found) for seed, found in sorted(by_seed.items())}
        settings.append(Setting(label or group[0].name, named, tuple(group), scores, None))
    if any(len(setting.label) > _LONGEST_LABEL for setting in settings):
        return [replace(setting, label=setting.runs[0].name) for setting in settings]
    return settings


def sort_into_cells(settings: Sequence[Setting], scoring: Scoring) -> Cells:
    """The cells of settings that all have a score."""
    places = [(number, seed) for number, one in enumerate(settings) for seed in one.scores]
    numbers = [number for number, _ in places]
    runs = [_run_of(settings[number], seed, scoring) for number, seed in places]
    scores = np.array([settings[number].scores[seed] for number, seed in places])
    most = max(len(scoring.of_problems(run)) for run in runs)
    smallest = 1 / most if most else 1e-9 * float(np.abs(scores).max(initial=1e-3))
    seeds = blocks(numbers, [seed for _, seed in places])
    return Cells(
        settings=tuple(numbers),
        seeds=tuple(seeds),
        scores=scores,
        means=fit_means(numbers, seeds),
        floor=smallest**2 / 12,  # the variance of what rounding to whole problems leaves out
        problems=_common_problems(runs, scoring),
        same_problems=_answered_the_same(runs, scoring),
    )


def _run_of(setting: Setting, seed: int, scoring: Scoring) -> ComparedRun:
    found = (run for run in setting.runs if run.seed == seed and scoring.of(run) is not None)
    return next(found)


def _common_problems(runs: Sequence[ComparedRun], scoring: Scoring) -> Problems | None:
    """What all runs answered; None for fewer than two problems, which have no spread."""
    answered = [scoring.of_problems(run) for run in runs]
    common = [key for key in answered[0] if all(key in one for one in answered)]
    if len(common) < 2:
        return None
    names = [answered[0][key][0] for key in common]
    values = np.array([[one[key][1] for key in common] for one in answered])
    _, domains, counts = np.unique(names, return_inverse=True, return_counts=True)
    weights = np.full(len(common), 1 / len(common))
    if scoring.by_domain:
        weights = 1 / (len(counts) * counts[domains])
    return Problems(values, domains, weights)


def _answered_the_same(runs: Sequence[ComparedRun], scoring: Scoring) -> bool:
    """Whether runs of one seed share most of their problems, and all runs their domains."""
    if scoring.kinds is None:
        return True
    first: dict[int, set[str]] = {}
    domains = set()
    for run in runs:
        answered = scoring.of_problems(run)
        domains.add(frozenset(domain for domain, _ in answered.values()))
        known = first.setdefault(run.seed, set(answered))
        if 2 * len(known & set(answered)) < len(known | set(answered)):
            return False
    return len(domains) == 1
