"""Comparisons made up for tests of the page, without any folder."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np

from reasoning_lab.compare.comparison import (
    Answer,
    Axis,
    ComparedRun,
    Comparison,
    Effect,
    Estimate,
    Metric,
    Series,
    Setting,
    Verdict,
)
from reasoning_lab.evaluation.statistics import mean_interval
from reasoning_lab.runs.folder import RunFolder

METRIC = Metric("score", "held-out score")
DOMAINS = ("math", "science", "creative")
BASE = "base, zero-shot"


def series(values: Sequence[float] | np.ndarray) -> Series:
    return Series(np.arange(1, len(values) + 1), np.asarray(values, dtype=float))


def answers(share: float, problems: int, *, text: str = "It is so.") -> tuple[Answer, ...]:
    """The first `share` of the problems are right; stories are never decided."""
    return tuple(
        Answer(
            example_id=f"problem {number}",
            domain=DOMAINS[number % 3],
            question=f"How many beans are in {number} tins of {number} beans?",
            completion=f"<reasoning>{text} {number} tins.</reasoning>\n<answer>{number}</answer>",
            answer=str(number * number),
            well_formed=True,
            correct=None if number % 3 == 2 else number < share * problems,
            truncated=number % 7 == 0,
            reward=0.5 * share + 0.01 * number,
        )
        for number in range(problems)
    )


def run(
    name: str,
    *,
    seed: int = 0,
    overrides: Mapping[str, str] | None = None,
    score: float = 0.5,
    state: str = "done",
    steps: int = 60,
    problems: int = 12,
    error: str | None = None,
    traceback: str | None = None,
    trouble: tuple[str, ...] = (),
) -> ComparedRun:
    """A GRPO run whose metrics rise to `score`; without answers unless it is done."""
    noise = np.random.default_rng([seed, steps, round(1000 * score)])
    rise = score * (1 - np.exp(-np.arange(steps) / max(steps / 4, 1)))
    evaluated = np.arange(0, steps, max(1, steps // 6))
    return ComparedRun(
        name=name,
        folder=RunFolder(Path("/nowhere") / name),
        stage="grpo",
        state=state,
        error=error,
        traceback=traceback,
        step=steps,
        max_steps=steps if state == "done" else 2 * steps,
        seed=seed,
        device_minutes=4 + 10 * score + seed,
        overrides=overrides or {},
        config={"seed": seed, **(overrides or {})},
        series={
            "eval/score": Series(evaluated, rise[evaluated]),
            "reward/total": series(rise + noise.normal(0, 0.08, steps)),
            "reward/math": series(0.6 * rise),
            "reward/format": series(0.2 + 0.2 * rise),
            "train/kl": series(0.02 * rise + noise.exponential(0.004, steps)),
            "completion/length": series(180 - 80 * rise + noise.normal(0, 9, steps)),
        }
        if steps
        else {},
        answers={BASE: answers(0.2, problems), "trained": answers(score, problems)}
        if state == "done"
        else {},
        trouble=trouble,
    )


def comparison(
    runs: Sequence[ComparedRun],
    scores: Mapping[str, float],
    *,
    title: str = "a sweep",
    metric: Metric = METRIC,
    verdict: Verdict | None = None,
    effects: Sequence[Effect] = (),
) -> Comparison:
    """What compare.py would make of these runs and their scores by name; intervals over seeds."""
    values: dict[str, list[str]] = {}
    for one in runs:
        for key, value in one.overrides.items():
            values.setdefault(key, []).append(value)
    axes = tuple(
        Axis(key, tuple(dict.fromkeys(found)))
        for key, found in values.items()
        if len(set(found)) > 1
    )
    groups: dict[str, list[ComparedRun]] = {}
    for one in runs:
        label = " ".join(f"{axis.name}={one.overrides[axis.name]}" for axis in axes) or one.name
        groups.setdefault(label, []).append(one)
    settings = [setting(label, members, scores, axes) for label, members in groups.items()]
    settings.sort(
        key=lambda s: (
            s.estimate is None,
            (-1 if metric.higher_is_better else 1) * (s.estimate.mean if s.estimate else 0),
        )
    )
    keys = {key for one in runs for key in one.config}
    return Comparison(
        title=title,
        metric=metric,
        runs=tuple(runs),
        axes=axes,
        settings=tuple(settings),
        effects=tuple(effects),
        pairs=(),
        differences={
            key: {one.name: one.config[key] for one in runs if key in one.config}
            for key in sorted(keys)
            if len({str(one.config.get(key)) for one in runs}) > 1
        },
        verdict=verdict
        or Verdict(
            headline=f"{settings[0].label} is the best of {len(settings)}.",
            details=("Two seeds say little.", "More would say more."),
            winner=settings[0].label,
            contenders=(settings[0].label,),
            next_command="python launch.py -m stage=grpo lora.rank=8 seed=2,3,4",
            next_reason="Three more seeds would tell the two best apart.",
        ),
    )


def setting(
    label: str, runs: Sequence[ComparedRun], scores: Mapping[str, float], axes: Sequence[Axis]
) -> Setting:
    by_seed = {one.seed: scores[one.name] for one in runs if one.name in scores}
    found = list(by_seed.values())
    return Setting(
        label=label,
        values={axis.name: runs[0].overrides[axis.name] for axis in axes},
        runs=tuple(runs),
        scores=by_seed,
        estimate=Estimate(fmean(found), *mean_interval(found), len(found)) if found else None,
    )


def sweep(axes: Mapping[str, Sequence[str]], seeds: int, *, steps: int = 60) -> Comparison:
    """All values of all axes, each with `seeds` seeds; later values are better."""
    runs, scores = [], {}
    for values in product(*axes.values()):
        overrides = dict(zip(axes, values, strict=True))
        quality = fmean(
            (axes[key].index(value) + 1) / len(axes[key]) for key, value in overrides.items()
        )
        for seed in range(seeds):
            name = "-".join([*(f"{k}={v}" for k, v in overrides.items()), f"s{seed}"])
            scores[name] = 0.2 + 0.5 * quality + 0.03 * seed
            runs.append(run(name, seed=seed, overrides=overrides, score=scores[name], steps=steps))
    effects = [
        Effect(key, found[-1], found[0], 0.12, 0.05, 0.19, 0.002, "seeds")
        for key, found in axes.items()
        if len(found) > 1
    ]
    return comparison(runs, scores, title="rank and beta", effects=effects)
