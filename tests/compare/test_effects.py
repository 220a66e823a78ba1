"""Estimates and tests against other software, by hand, and by simulation."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reasoning_lab.compare.axes import find_axes
from reasoning_lab.compare.comparison import Answer, ComparedRun, Series
from reasoning_lab.compare.effects import Findings, find_effects
from reasoning_lab.compare.inference import (
    Problems,
    over_problems,
    replicates_needed,
    tukey_kramer,
)
from reasoning_lab.compare.scores import choose_scoring
from reasoning_lab.evaluation.statistics import mcnemar
from reasoning_lab.runs.folder import RunFolder

Values = Mapping[str, str]


def run(values: Values, seed: int, value: float | Sequence[bool], first: int = 0) -> ComparedRun:
    """A finished run of a sweep: by right answers, or with a number as its last eval/score.

    first: the number of the first problem.
    """
    right = [] if isinstance(value, float) else list(value)
    answers = tuple(
        Answer(f"row {first + i}", "math", "?", "", "", True, one, False, float(one))
        for i, one in enumerate(right)
    )
    name = "-".join([*values.values(), str(seed)])
    last = value if isinstance(value, float) else 0.0
    return ComparedRun(
        name=name, folder=RunFolder(Path("sweep") / name), stage="grpo", state="done", error=None,
        traceback=None, step=1, max_steps=1, seed=seed, device_minutes=1.0,
        overrides={**values, "seed": str(seed)}, config={},
        series={"eval/score": Series(np.array([1]), np.array([last]))},
        answers={"GRPO": answers} if answers else {},
    )  # fmt: skip


def findings(runs: Sequence[ComparedRun], metric: str | None = None) -> Findings:
    axes, places = find_axes(runs)
    return find_effects(runs, axes, places, choose_scoring(runs, metric))


def of_table(scores: Sequence[Sequence[float | None]]) -> Findings:
    """Findings of settings "0", "1", …, one row each, with one column a seed; None: missing."""
    runs = [
        run({"x": str(setting)}, seed, value)
        for setting, row in enumerate(scores)
        for seed, value in enumerate(row)
        if value is not None
    ]
    return findings(runs, "eval/score")


def right(count: int, of: int) -> list[bool]:
    return [number < count for number in range(of)]


TABLE = [[0.50, 0.61, 0.42], [0.55, 0.63, 0.49], [0.70, 0.79, 0.58]]


def two_way_variance(table: np.ndarray) -> float:
    """The residual mean square of a complete two-way layout, as textbooks write it."""
    means = table.mean(1, keepdims=True) + table.mean(0, keepdims=True) - table.mean()
    settings, seeds = table.shape
    return float(((table - means) ** 2).sum() / ((settings - 1) * (seeds - 1)))


def test_settings_have_means_with_intervals_from_the_residual_of_setting_and_seed() -> None:
    table = np.array(TABLE)
    found = of_table(TABLE)
    assert [setting.label for setting in found.settings] == ["x=2", "x=1", "x=0"]
    half = stats.t.ppf(0.975, 4) * np.sqrt(two_way_variance(table) / 3)
    for setting, mean in zip(found.settings, table.mean(1)[::-1], strict=True):
        assert setting.estimate is not None
        assert setting.estimate.mean == pytest.approx(mean)
        assert setting.estimate.low == pytest.approx(mean - half)
        assert setting.estimate.high == pytest.approx(mean + half)
        assert setting.estimate.count == 3


def test_pairs_are_tested_after_tukey_on_the_same_residual() -> None:
    table = np.array(TABLE)
    error = np.sqrt(two_way_variance(table) / 3)  # of a mean, as the studentized range wants it
    for pair in of_table(TABLE).pairs:
        better, other = (int(label.removeprefix("x=")) for label in (pair.better, pair.other))
        difference = table[better].mean() - table[other].mean()
        assert pair.difference == pytest.approx(difference)
        expected = stats.studentized_range.sf(difference / error, 3, 4)
        assert pair.p_value == pytest.approx(expected)
        half = stats.studentized_range.ppf(0.95, 3, 4) * error
        assert pair.low == pytest.approx(difference - half)
        assert pair.basis == "seeds"


def test_without_seeds_in_common_it_is_tukeys_test_of_independent_groups() -> None:
    groups = [[0.50, 0.61, 0.42], [0.55, 0.63, 0.49, 0.60], [0.80, 0.75]]
    runs = [
        run({"x": str(number)}, 10 * number + seed, value)
        for number, group in enumerate(groups)
        for seed, value in enumerate(group)
    ]
    expected = stats.tukey_hsd(*groups)
    for pair in findings(runs, "eval/score").pairs:
        i, j = (int(label.removeprefix("x=")) for label in (pair.better, pair.other))
        assert pair.difference == pytest.approx(expected.statistic[i, j])
        assert pair.p_value == pytest.approx(expected.pvalue[i, j], rel=1e-4)
        assert pair.low == pytest.approx(expected.confidence_interval().low[i, j], abs=1e-4)


def test_a_missing_run_on_an_easy_seed_does_not_cost_its_setting() -> None:
    easy, hard = 0.9, 0.2
    found = of_table([[None, hard + 0.05, 0.5], [easy, hard, 0.46]])
    assert found.settings[0].label == "x=0"
    assert found.pairs[0].difference == pytest.approx(0.045)


def test_effects_of_axes_are_averaged_over_the_others_and_adjusted_for_all() -> None:
    random = np.random.default_rng(0)
    runs, scores = [], np.zeros((2, 3, 4))
    for a, b, seed in np.ndindex(2, 3, 4):
        scores[a, b, seed] = 0.1 * a + 0.3 * (b == 2) + 0.05 * seed + 0.02 * random.normal()
        runs.append(run({"a": str(a), "b": str(b)}, seed, float(scores[a, b, seed])))
    effects = {(one.axis, one.value): one for one in findings(runs, "eval/score").effects}
    assert set(effects) == {("a", "1"), ("b", "1"), ("b", "2")}
    assert effects["a", "1"].difference == pytest.approx(scores[1].mean() - scores[0].mean())
    assert effects["b", "2"].difference == pytest.approx(scores[:, 2].mean() - scores[:, 0].mean())
    assert effects["a", "1"].p_value < 1e-4
    assert effects["b", "1"].low < 0 < effects["b", "1"].high
    residual = (
        scores
        - scores.mean((1, 2), keepdims=True)
        - scores.mean((0, 2), keepdims=True)
        - scores.mean((0, 1), keepdims=True)
        + 2 * scores.mean()
    )
    freedom = 24 - 1 - 1 - 2 - 3
    error = np.sqrt((residual**2).sum() / freedom * (1 / 12 + 1 / 12))
    half = stats.t.ppf(1 - 0.05 / 6, freedom) * error
    assert effects["a", "1"].high - effects["a", "1"].difference == pytest.approx(half)
    small = effects["b", "1"]
    error = np.sqrt((residual**2).sum() / freedom * (1 / 8 + 1 / 8))
    alone = 2 * stats.t.sf(abs(small.difference) / error, freedom)
    assert small.p_value == pytest.approx(3 * alone)


def test_many_pairs_get_nearly_the_same_p_values_as_few() -> None:
    difference = np.linspace(0.01, 2.0, 70)
    many = tukey_kramer(difference, np.full(70, 0.3), 12, 20).p_value
    few = tukey_kramer(difference[::10], np.full(7, 0.3), 12, 20).p_value
    assert many[::10] == pytest.approx(few, rel=0.02)
    assert (few < 0.05).any()


def test_axes_that_vary_together_have_no_effects_of_their_own() -> None:
    places = [("0", "0"), ("1", "1"), ("1", "0")]
    runs = [run({"a": a, "b": b}, s, 0.1 * s + 0.3 * (a == "1")) for a, b in places for s in (0, 1)]
    assert findings(runs, "eval/score").inseparable == ()
    together = findings(runs[:4], "eval/score")
    assert together.effects == ()
    assert together.inseparable == ("a", "b")


def test_one_seed_is_judged_by_problems_as_mcnemar_does() -> None:
    before = [False] * 12 + [True] * 8
    after = [True] * 9 + [False] * 3 + [True] * 7 + [False]
    found = findings([run({"x": "0"}, 0, before), run({"x": "1"}, 0, after)])
    (pair,) = found.pairs
    assert (found.basis, pair.basis, pair.better) == ("problems", "problems", "x=1")
    assert pair.difference == pytest.approx(8 / 20)
    assert pair.p_value == pytest.approx(mcnemar(9, 1), rel=0.1)
    assert pair.low < 8 / 20 < pair.high


def test_many_models_on_the_same_problems_are_adjusted_after_holm() -> None:
    values = np.array([right(30, 40), right(29, 40), right(10, 40)], np.float64)
    problems = Problems(values, np.zeros(40, np.int64), np.full(40, 1 / 40))
    contrasts = np.array([[1.0, -1, 0], [1, 0, -1], [0, 1, -1]])
    holm = over_problems(problems, contrasts, holm=True).p_value
    assert holm[0] == pytest.approx(mcnemar(1, 0))
    assert holm[1] == pytest.approx(3 * mcnemar(20, 0), abs=2e-4)
    bonferroni = over_problems(problems, contrasts, holm=False).p_value
    assert (bonferroni >= holm - 1e-12).all()
    assert bonferroni[0] == 1.0


def test_a_few_problems_that_all_agree_are_no_certainty() -> None:
    (pair,) = findings([run({"x": "0"}, 0, [False] * 3), run({"x": "1"}, 0, [True] * 3)]).pairs
    assert pair.p_value > 0.2
    assert pair.low < 0 < pair.high
    assert pair.more_needed is not None
    assert pair.more_needed > 3


def test_different_problems_are_noticed_and_not_paired() -> None:
    runs = [run({"x": "0"}, 0, right(5, 10)), run({"x": "1"}, 0, right(9, 10), first=100)]
    found = findings(runs)
    assert found.basis is None
    assert not found.same_problems
    assert found.pairs[0].p_value == 1.0
    assert not isfinite(found.pairs[0].low)


@pytest.mark.parametrize(
    "table",
    [
        [[0.5]],
        [[0.5, 0.6]],
        [[0.5], [0.7]],
        [[0.5, None], [None, 0.7]],
        [[0.5, 0.6], [0.7, None]],
        [[0.5, 0.5], [0.5, 0.5]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        [[0.25, 0.5], [0.5, 0.75]],
        [[None, None], [0.5, 0.6]],
    ],
)
def test_whatever_there_is_gives_numbers(table: list[list[float | None]]) -> None:
    found = of_table(table)
    for setting in found.settings:
        assert setting.estimate is not None
        assert setting.estimate.low <= setting.estimate.mean <= setting.estimate.high
    for pair in found.pairs:
        assert pair.low <= pair.difference <= pair.high
        assert 0 <= pair.p_value <= 1
    for effect in found.effects:
        assert 0 <= effect.p_value <= 1


def test_scores_rounded_to_few_problems_do_not_pass_for_noiseless() -> None:
    runs = [run({"x": str(x)}, seed, right(2 + x, 4)) for x in (0, 1) for seed in (0, 1)]
    (pair,) = findings(runs).pairs  # both seeds gain the same quarter: no residual at all
    assert pair.p_value > 0.05


def test_settings_with_no_score_come_last() -> None:
    runs = [run({"x": "0"}, 0, float("nan")), run({"x": "1"}, 0, 0.5), run({"x": "2"}, 0, 0.6)]
    settings = findings(runs, "eval/score").settings
    assert [setting.label for setting in settings] == ["x=2", "x=1", "x=0"]
    assert settings[-1].estimate is None


def test_what_is_less_the_better_is_ranked_so() -> None:
    runs = [run({"x": str(x)}, seed, 0.1 * x + 0.01 * seed) for x in (0, 1) for seed in (0, 1)]
    axes, places = find_axes(runs)
    scoring = choose_scoring(runs, "eval/score", lower_is_better=True)
    found = find_effects(runs, axes, places, scoring)
    assert found.settings[0].label == "x=0"
    assert (found.pairs[0].better, found.pairs[0].difference) == ("x=0", pytest.approx(-0.1))


def test_as_many_seeds_as_said_find_the_difference_four_times_in_five() -> None:
    difference, spread, groups = 0.1, 0.08, 3
    seeds = replicates_needed(difference, spread, groups, have=2)
    random = np.random.default_rng(0)
    trials = 400
    scores = spread * random.standard_normal((trials, groups, seeds))
    scores[:, 0] += difference
    freedom = (groups - 1) * (seeds - 1)
    critical = stats.studentized_range.ppf(0.95, groups, freedom)
    means = scores.mean(2)
    residual = (
        scores - means[:, :, None] - scores.mean(1)[:, None] + scores.mean((1, 2))[:, None, None]
    )
    error = np.sqrt((residual**2).sum((1, 2)) / freedom / seeds)
    power = float(((means[:, 0] - means[:, 1]) / error > critical).mean())
    assert 0.72 < power < 0.92


def winners(effect: float, *, sweeps: int, settings: int, seeds: int, problems: int) -> list[str]:
    """Of simulated sweeps, the settings that beat all others, if any; x=0 has the effect."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(sweeps):
        base = 0.45 + 0.08 * random.standard_normal(seeds)  # some seeds have easy problems
        runs = [
            run({"x": str(x)}, s, (random.random(problems) < base[s] + effect * (x == 0)).tolist())
            for x in range(settings)
            for s in range(seeds)
        ]
        one = findings(runs)
        top = one.settings[0].label
        if all(pair.p_value < 0.05 for pair in one.pairs if pair.better == top):
            found.append(top)
    return found


@pytest.mark.parametrize(("settings", "seeds", "problems"), [(2, 3, 16), (3, 2, 32)])
def test_where_there_is_no_difference_a_winner_is_rare(
    settings: int, seeds: int, problems: int
) -> None:
    found = winners(0.0, sweeps=200, settings=settings, seeds=seeds, problems=problems)
    assert len(found) <= 0.05 * 200


def test_a_large_difference_is_found() -> None:
    found = winners(0.45, sweeps=20, settings=3, seeds=3, problems=64)
    assert set(found) == {"x=0"}
    assert len(found) >= 18
