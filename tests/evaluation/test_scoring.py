from dataclasses import replace

import pytest

from reasoning_lab.data.example import Example
from reasoning_lab.evaluation.metrics import (
    LENGTHS,
    METRICS,
    TRUNCATED,
    Scored,
    count_steps,
    score,
    summarise,
)
from reasoning_lab.formats import parse, render_completion

RIGHT = render_completion("9 + 9 = 18.", "18")


def judged(completion: str, *, truncated: bool = False, domain: str = "addition") -> Scored:
    example = Example("1", "sums", domain, "What is 9 + 9?", "9 + 9 = 18.", "18", "")
    parsed = parse(completion)
    right = parsed.answer == "18" and not truncated
    return score(completion, example, truncated=truncated, correct=right)


def passed(scored: Scored) -> set[str]:
    return {metric for metric in METRICS if getattr(scored, metric)}


@pytest.mark.parametrize(
    ("completion", "metrics"),
    [
        (RIGHT, set(METRICS)),
        (render_completion("9 + 9 = 17.", "17"), set(METRICS) - {"correct"}),
        ("", set()),
        ("18", set()),
        ("<answer>18</answer>", {"correct"}),
        ("So: " + RIGHT, set(METRICS) - {"well_formed"}),
        (RIGHT + "<answer>18</answer>", {"both_tags", "reasoning_not_empty"}),
        (RIGHT + "<reasoning>", {"both_tags", "correct"}),
        (render_completion(" ", "18"), {"both_tags", "no_stray_tags", "correct"}),
        (
            "<answer>18</answer><reasoning>a</reasoning>",
            {"both_tags", "reasoning_not_empty", "correct"},
        ),
    ],
)
def test_each_metric_says_what_it_says(completion: str, metrics: set[str]) -> None:
    assert passed(judged(completion)) == metrics


def test_a_truncated_completion_is_wrong_whatever_it_holds() -> None:
    assert passed(judged(RIGHT, truncated=True)).isdisjoint({"well_formed", "correct"})


def test_reasoning_is_measured_in_characters_and_steps() -> None:
    assert judged(RIGHT).reasoning_chars == len("9 + 9 = 18.")
    assert judged(RIGHT).reasoning_steps == 1
    assert judged("18").reasoning_chars == judged("18").reasoning_steps == 0


@pytest.mark.parametrize(
    ("reasoning", "steps"),
    [
        ("", 0),
        (" \n\n ", 0),
        ("...", 0),
        ("8 + 8 = 16. 16 + 9 = 25.", 2),
        ("8 + 8 = 16\n16 + 9 = 25\n", 2),
        ("1.5 + 1.5 = 3.0. That is 3.", 2),
        ("1. Add 8 and 8.\n2. Add 9.", 2),
        ("First add: 8 + 8 = 16; then add 9! So?", 3),
        ("t 0, h 1, e 1.", 1),
        ("Yes", 1),
    ],
)
def test_a_step_is_a_sentence_or_a_line(reasoning: str, steps: int) -> None:
    assert count_steps(reasoning) == steps


def test_a_summary_counts_all_and_each_domain_with_fixed_denominators() -> None:
    scored = [judged(RIGHT), judged(""), judged(RIGHT, truncated=True), judged(RIGHT, domain="b")]
    rows = {(row.group, row.metric): row for row in summarise("tuned", scored).rows}

    assert (rows["all", "correct"].count, rows["all", "correct"].denominator) == (2, 4)
    assert (rows["addition", "correct"].count, rows["addition", "correct"].denominator) == (1, 3)
    assert (rows["b", "correct"].count, rows["b", "correct"].denominator) == (1, 1)
    assert 0 < rows["all", "correct"].low < 0.5 < rows["all", "correct"].high < 1
    assert (rows["all", TRUNCATED].count, rows["b", TRUNCATED].count) == (1, 0)
    assert len(rows) == 3 * len([*METRICS, TRUNCATED])


def test_lengths_are_means_over_all_completions_even_those_without_reasoning() -> None:
    summary = summarise("tuned", [judged(RIGHT), judged(RIGHT), judged(""), judged("18")])
    chars, steps = summary.lengths

    assert [chars.metric, steps.metric] == list(LENGTHS)
    assert (chars.value, chars.denominator) == (len("9 + 9 = 18.") / 2, 4)
    assert steps.value == 0.5
    assert 0 == steps.low < steps.value < steps.high


def test_sampled_completions_are_summed_up_as_pass_at_1_and_pass_at_k() -> None:
    scored = [judged(RIGHT), judged(""), judged(RIGHT, domain="b")]
    summary = summarise("tuned", scored, right_samples=[4, 0, 1], samples=4)
    shares = {(mean.group, mean.metric): mean.value for mean in summary.pass_at}

    assert shares["all", "pass_at_1"] == pytest.approx(5 / 12)
    assert shares["all", "pass_at_4"] == pytest.approx(2 / 3)
    assert shares["addition", "pass_at_1"] == pytest.approx(1 / 2)
    assert shares["b", "pass_at_4"] == 1
    assert summarise("tuned", scored).pass_at == ()


def test_a_summary_of_nothing_can_be_made() -> None:
    assert all(row.denominator == 0 for row in summarise("tuned", []).rows)


def test_one_domain_is_not_listed_twice() -> None:
    assert {row.group for row in summarise("tuned", [judged(RIGHT)]).rows} == {"all"}


def test_what_nothing_decides_is_in_no_share_of_right_answers() -> None:
    right, wrong = judged(RIGHT), judged(render_completion("9 + 9 = 17.", "17"))
    story = replace(judged(RIGHT, domain="stories"), correct=None, reward=0.25)
    summary = summarise("m", [right, wrong, story], right_samples=[2, 1, 0], samples=2)
    correct = {
        row.group: (row.count, row.denominator) for row in summary.rows if row.metric == "correct"
    }
    assert correct == {"all": (1, 2), "addition": (1, 2)}
    assert {(mean.group, mean.metric): mean.value for mean in summary.pass_at} == {
        ("all", "pass_at_1"): 0.75,
        ("all", "pass_at_2"): 1.0,
        ("addition", "pass_at_1"): 0.75,
        ("addition", "pass_at_2"): 1.0,
    }
    assert {(mean.group, mean.value, mean.denominator) for mean in summary.rewards} == {
        ("all", 0.25, 1),
        ("stories", 0.25, 1),
    }
