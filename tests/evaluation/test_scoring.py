import pytest

from reasoning_lab.data.example import Example
from reasoning_lab.evaluation.metrics import METRICS, Scored, score, summarise
from reasoning_lab.formats import render_completion

RIGHT = render_completion("9 + 9 = 18.", "18")


def judged(completion: str, *, truncated: bool = False, domain: str = "addition") -> Scored:
    example = Example("1", "sums", domain, "What is 9 + 9?", "9 + 9 = 18.", "18", "")
    return score(completion, example, truncated=truncated)


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


def test_reasoning_is_measured_in_characters() -> None:
    assert judged(RIGHT).reasoning_chars == len("9 + 9 = 18.")
    assert judged("18").reasoning_chars == 0


def test_a_summary_counts_all_and_each_domain_with_fixed_denominators() -> None:
    scored = [judged(RIGHT), judged(""), judged(RIGHT, truncated=True), judged(RIGHT, domain="b")]
    rows = {(row.group, row.metric): row for row in summarise("tuned", scored).rows}

    assert (rows["all", "correct"].count, rows["all", "correct"].denominator) == (2, 4)
    assert (rows["addition", "correct"].count, rows["addition", "correct"].denominator) == (1, 3)
    assert (rows["b", "correct"].count, rows["b", "correct"].denominator) == (1, 1)
    assert 0 < rows["all", "correct"].low < 0.5 < rows["all", "correct"].high < 1
    assert len(rows) == 3 * len(METRICS)


def test_one_domain_is_not_listed_twice() -> None:
    assert {row.group for row in summarise("tuned", [judged(RIGHT)]).rows} == {"all"}
