"""Curves and figures of the page: their numbers, and that plotly takes them."""

from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from reasoning_lab.compare.comparison import Comparison, Metric
from reasoning_lab.compare.page.axis_charts import axis_charts, heat_maps
from reasoning_lab.compare.page.curves import curves, smoothed, smoothing_memory, thinned
from reasoning_lab.compare.page.domain_bars import domain_charts
from reasoning_lab.compare.page.reward_parts import reward_parts_table
from reasoning_lab.compare.page.same_prompts import same_prompts
from reasoning_lab.compare.page.score_charts import cost_chart, pareto_front, score_chart
from reasoning_lab.compare.page.sections import sections
from tests.compare.comparisons import BASE, answers, comparison, run, series, sweep

AXES = {"lora.rank": ["4", "8"], "stage.beta": ["0.0", "0.02"]}


def metrics(what: Comparison) -> list[dict[str, Any]]:
    found = curves(what)
    assert found is not None
    return list(found["metrics"])


def test_smoothing_is_a_weighted_mean_of_all_values_so_far() -> None:
    values = np.array([[1.0, 5.0, 3.0], [2.0, np.nan, 4.0]])
    decay = 0.75
    first = [1.0, (decay + 5) / (decay + 1), (decay**2 + 5 * decay + 3) / (decay**2 + decay + 1)]
    second = [2.0, np.nan, (2 * decay + 4) / (decay + 1)]
    np.testing.assert_allclose(smoothed(values, memory=4.0), [first, second])


def test_few_points_are_not_smoothed() -> None:
    values = np.array([[1.0, 5.0, 3.0]])
    assert smoothing_memory(20) == 1.0
    assert smoothing_memory(1000) == 50.0
    np.testing.assert_array_equal(smoothed(values, smoothing_memory(3)), values)


def test_neighbours_are_averaged() -> None:
    values = np.array([[1.0, 3.0, 5.0, np.nan, 7.0, np.nan], [np.nan] * 6])
    np.testing.assert_array_equal(thinned(values, 3), [[2.0, 5.0, 7.0], [np.nan] * 3])
    np.testing.assert_array_equal(thinned(values, 6), values)
    np.testing.assert_allclose(thinned(np.full((2, 1001), 0.1), 240), np.full((2, 240), 0.1))


def test_curves_are_means_over_seeds_that_got_so_far() -> None:
    runs = [
        replace(run("long", seed=0), series={"train/loss": series([1.0, 2.0, 3.0, np.nan])}),
        replace(run("short", seed=1), series={"train/loss": series([3.0, 4.0])}),
        replace(run("none", seed=2), series={}),
    ]
    together = comparison(runs, {})
    setting = replace(together.settings[0], runs=tuple(runs))
    [curve] = metrics(replace(together, settings=(setting,)))
    assert curve["name"] == "train/loss"
    assert curve["steps"] == [1, 2, 3]
    assert curve["mean"] == [[2.0, 3.0, 3.0]]
    assert curve["low"] == [[1.0, 2.0, 3.0]]
    assert curve["high"] == [[3.0, 4.0, 3.0]]
    assert curve["raw"] == [[1.0, 2.0, 3.0], [3.0, 4.0, None], []]


def test_curves_of_different_steps_share_an_axis() -> None:
    seldom = replace(series([0.5, 0.7]), steps=np.array([0, 10]))
    runs = [
        replace(run("a"), series={"eval/score": seldom}),
        replace(run("b"), series={"eval/score": replace(seldom, steps=np.array([0, 5]))}),
    ]
    [curve] = metrics(comparison(runs, {}))
    assert curve["steps"] == [0, 5, 10]
    assert curve["smooth"] == [[0.5, None, 0.7], [0.5, 0.7, None]]
    assert curve["mean"] == [[], []]


def test_metrics_are_in_the_order_of_interest_and_without_ends_of_intervals() -> None:
    names = ["advantage/std", "domain/math/reward", "reward/math", "train/loss", "eval/score"]
    names += ["eval/score_low", "eval/score_high"]
    one = replace(run("r"), series={name: series([1.0, 2.0]) for name in names})
    found = [curve["name"] for curve in metrics(comparison([one], {}))]
    assert found == names[4::-1]


def test_a_metric_that_is_never_a_number_has_no_curve() -> None:
    one = replace(run("r"), series={"train/loss": series([np.nan, np.inf])})
    assert curves(comparison([one], {})) is None


def test_the_score_chart_has_means_intervals_and_seeds() -> None:
    what = sweep(AXES, 2)
    chart = score_chart(what)
    assert chart is not None
    estimates, seeds = chart["data"]
    first = what.settings[0].estimate
    assert first is not None
    assert estimates["x"][0] + estimates["error_x"]["array"][0] == pytest.approx(first.high)
    assert estimates["x"][0] - estimates["error_x"]["arrayminus"][0] == pytest.approx(first.low)
    assert sorted(seeds["x"]) == sorted(s for one in what.settings for s in one.scores.values())
    assert chart["layout"]["yaxis"]["ticktext"][0] == "rank 8 · beta 0.02"


def test_an_interval_without_bounds_is_not_drawn() -> None:
    chart = score_chart(sweep(AXES, 1))
    assert chart is not None
    assert set(chart["data"][0]["error_x"]["array"]) == {0}


def test_each_axis_has_every_run_and_means_over_the_others() -> None:
    what = sweep(AXES, 2)
    chart = axis_charts(what)["lora.rank"]
    dots, means = chart["data"]
    assert len(dots["y"]) == 8
    fours = [one for one in what.settings if one.values["lora.rank"] == "4"]
    of_four = [score for one in fours for score in one.scores.values()]
    assert means["y"][0] == pytest.approx(np.mean(of_four))


def test_many_numbers_on_an_axis_are_drawn_to_scale() -> None:
    rates = [f"{10 ** (-6 + number / 5):.2e}" for number in range(15)]
    chart = axis_charts(sweep({"stage.learning_rate": rates}, 1))["stage.learning_rate"]
    assert chart["layout"]["xaxis"]["type"] == "log"
    assert chart["data"][0]["x"] == pytest.approx([float(rate) for rate in reversed(rates)])


def test_heat_maps_tell_value_and_number() -> None:
    what = sweep({**AXES, "data": ["a", "b"]}, 1)
    maps = heat_maps(what)
    assert len(maps) == 3
    heat = maps["lora.rank and stage.beta"]["data"][0]
    cell = [
        score
        for one in what.settings
        if (one.values["lora.rank"], one.values["stage.beta"]) == ("8", "0.0")
        for score in one.scores.values()
    ]
    assert heat["z"][0][1] == pytest.approx(np.mean(cell))
    assert heat["text"][0][1] == f"{np.mean(cell):.1%}<br>n = 2"


@pytest.mark.parametrize(("is_higher_better", "front"), [(True, ["a", "c"]), (False, ["a"])])
def test_the_front_of_score_and_time(is_higher_better: bool, front: list[str]) -> None:
    scores, minutes = {"a": 0.3, "b": 0.3, "c": 0.6, "d": 0.5}, {"a": 1, "b": 2, "c": 3, "d": 4}
    runs = [replace(run(name), device_minutes=minutes[name]) for name in scores]
    metric = Metric("loss", "held-out loss", higher_is_better=is_higher_better, is_share=False)
    what = comparison(runs, scores, metric=metric)
    assert [setting.label for setting in pareto_front(what)] == front
    assert cost_chart(what) is not None


def test_domains_of_the_best_settings_and_of_the_model_before_training() -> None:
    what = sweep(AXES, 2)
    charts = domain_charts(what)
    right, rewards = charts["Share right"], charts["Mean reward where nothing is right or wrong"]
    assert len(right["data"]) == 4
    assert right["data"][0]["name"] == BASE
    best = [a for one in what.settings[0].runs for a in one.trained if a.domain == "math"]
    assert right["data"][1]["y"][0] == pytest.approx(np.mean([a.correct for a in best]))
    assert rewards["data"][0]["x"] == ["creative"]


def test_components_of_the_reward_are_means_of_the_last_tenth() -> None:
    parts = {"reward/total": [0.0] * 90 + [0.5] * 10, "reward/math": [np.nan, 0.25, np.nan]}
    one = replace(run("r"), series={name: series(values) for name, values in parts.items()})
    table = reward_parts_table(comparison([one], {"r": 0.5}))
    assert ">0.500<" in table
    assert ">0.250<" in table


def test_prompts_are_those_that_most_have_answered() -> None:
    runs = [
        replace(run(f"r{n}"), answers={"base": answers(0.2, size), "trained": answers(0.5, size)})
        for n, size in enumerate((4, 2, 4))
    ]
    prompts = same_prompts(comparison(runs, {"r0": 0.5, "r1": 0.4, "r2": 0.3}))
    assert prompts is not None
    assert prompts["writers"] == ["base", "r0", "r1", "r2"]
    assert prompts["chosen"] == [0, 1]
    assert len(prompts["problems"]) == 2
    assert [answer["correct"] for answer in prompts["problems"][0]["answers"]] == [True] * 4


@pytest.mark.parametrize("seeds", [1, 2])
def test_plotly_takes_every_figure(seeds: int) -> None:
    rates = [f"{10 ** (-6 + number / 5):.2e}" for number in range(15)]
    axes = {"lora.rank": ["4", "8"], "stage.learning_rate": rates, "data": ["a", "b", "c"]}
    shown = sections(sweep(axes, seeds), has_curves=True, has_prompts=True)
    figures = [figure for one in shown for figure in one.figures.values()]
    assert len(figures) >= 8
    for figure in figures:
        go.Figure(data=figure["data"], layout=figure["layout"])  # raises for an unknown key
