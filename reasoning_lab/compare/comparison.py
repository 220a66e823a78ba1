"""What a comparison of runs consists of; plain values, made in compare.py, shown by the others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reasoning_lab.runs.folder import RunFolder

Basis = Literal["seeds", "problems"]


@dataclass(frozen=True)
class Series:
    """One metric of one run. steps: int64[N], ascending; values: float64[N], may hold NaN."""

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Answer:
    """What one model wrote to one held-out problem of the final evaluation, and what it is worth.

    correct: None where nothing decides. reward: None where nothing was rewarded.
    """

    example_id: str
    domain: str
    question: str
    completion: str
    answer: str
    well_formed: bool
    correct: bool | None
    truncated: bool
    reward: float | None


@dataclass(frozen=True)
class ComparedRun:
    """One run as its folder tells it, whatever state it is in.

    name: of the folder, made unique among the runs compared.
    state: of status.json, "waiting" where there is none, "unreadable" where it is no status.
    error: what a failed run died of, in a line; traceback: the rest.
    device_minutes: training time summed over steps, times the number of devices.
    overrides: what the sweep set for this run, {"lora.rank": "8"}; empty for single runs.
    config: the resolved experiment, flat and dotted, without what says nothing about the result
        (folders, names, tracking).
    series: by the metric's name in metrics.jsonl.
    answers: of the final evaluation, by model in the order asked; the trained model is last.
    trouble: what in the folder could not be read, a sentence each.
    """

    name: str
    folder: RunFolder
    stage: str
    state: str
    error: str | None
    traceback: str | None
    step: int
    max_steps: int | None
    seed: int
    device_minutes: float
    overrides: Mapping[str, str]
    config: Mapping[str, Any]
    series: Mapping[str, Series]
    answers: Mapping[str, tuple[Answer, ...]]
    trouble: tuple[str, ...] = ()

    @property
    def trained(self) -> tuple[Answer, ...]:
        """The trained model's answers; none before the run has ended."""
        return list(self.answers.values())[-1] if self.answers else ()

    @property
    def start_name(self) -> str | None:
        """How the model that training began with is called, if it was asked, too."""
        others = list(self.answers)[:-1]
        as_trained = [name for name in others if not re.search(r"\d-shot", name)]
        return as_trained[-1] if as_trained else None


@dataclass(frozen=True)
class Metric:
    """What runs are ranked by. is_share: between 0 and 1, to be shown as a percentage."""

    name: str
    label: str
    higher_is_better: bool = True
    is_share: bool = True


@dataclass(frozen=True)
class Axis:
    """A key in which the runs differ, seeds excepted. values: in ascending order, as typed."""

    name: str
    values: tuple[str, ...]

    @property
    def is_numeric(self) -> bool:
        try:
            [float(value) for value in self.values]
        except ValueError:
            return False
        return True


@dataclass(frozen=True)
class Estimate:
    """A mean over `count` runs with its 95% interval; infinite ends where nothing bounds it."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Setting:
    """Runs that differ in nothing but their seeds.

    label: "lora.rank=8 stage.beta=0.02", or the run's name where no key differs.
    values: by axis. scores: by seed, of the runs that have ended.
    estimate: None before the first of them has ended.
    """

    label: str
    values: Mapping[str, str]
    runs: tuple[ComparedRun, ...]
    scores: Mapping[int, float]
    estimate: Estimate | None


@dataclass(frozen=True)
class Effect:
    """What one value of an axis changes against another, all other axes averaged.

    The interval and the p-value are adjusted for all effects of the comparison together.
    """

    axis: str
    value: str
    reference: str
    difference: float
    low: float
    high: float
    p_value: float
    basis: Basis


@dataclass(frozen=True)
class Pair:
    """Two settings: what `better` has over `other`, adjusted for all pairs looked at.

    more_needed: seeds of each setting (basis "seeds") or problems (basis "problems") in all, with
    which a difference of this size would be found with a power of 80%; None where it is found
    already, or is zero.
    """

    better: str
    other: str
    difference: float
    low: float
    high: float
    p_value: float
    basis: Basis
    more_needed: int | None


@dataclass(frozen=True)
class Verdict:
    """What the numbers support, and no more.

    headline: one sentence. details: further sentences.
    winner: the label of the setting that beats all others; None where no one does.
    contenders: labels of settings that cannot be told apart from the top one, that one first.
    next_command: the launch.py line worth running next; "" if there is none.
    next_reason: why, in a sentence.
    """

    headline: str
    details: tuple[str, ...]
    winner: str | None
    contenders: tuple[str, ...]
    next_command: str
    next_reason: str


@dataclass(frozen=True)
class Comparison:
    """Everything that the table and the page show.

    settings: best first, those without a score last.
    differences: config keys in which runs differ, seeds included: {key: {run name: value}}.
    """

    title: str
    metric: Metric
    runs: tuple[ComparedRun, ...]
    axes: tuple[Axis, ...]
    settings: tuple[Setting, ...]
    effects: tuple[Effect, ...]
    pairs: tuple[Pair, ...]
    differences: Mapping[str, Mapping[str, Any]]
    verdict: Verdict
