from collections.abc import Sequence
from dataclasses import replace

import pytest

from reasoning_lab.evaluation.metrics import Scored
from reasoning_lab.evaluation.verdict import format_p, verdict

RUN = "20260101-101500-sft-gemma3_270m"


def judged(right: str, formed: str | None = None) -> list[Scored]:
    """One completion a letter: "x" is right (and, in `formed`, well formed), "." is not."""
    return [
        Scored(
            example_id=str(number),
            source="sums",
            domain="addition",
            both_tags=form == "x",
            reasoning_not_empty=form == "x",
            no_stray_tags=form == "x",
            well_formed=form == "x",
            correct=letter == "x",
            truncated=False,
            reasoning_chars=20,
            reasoning_steps=2,
        )
        for number, (letter, form) in enumerate(zip(right, formed or "x" * len(right), strict=True))
    ]


def said(start: list[Scored], trained: list[Scored], **others: list[Scored]) -> str:
    return verdict(
        {**others, "SFT": start, "GRPO": trained},
        trained="GRPO",
        start_name="SFT",
        start_run=RUN,
    )


HALF = "x" * 40 + "." * 40
MOST = "x" * 60 + "." * 20


def test_a_better_model_is_to_be_used() -> None:
    assert said(judged(HALF), judged(MOST)) == (
        "GRPO beats SFT: 75% against 50% correct on 80 problems, +25 points (95% 14 to 34), "
        "McNemar p = 1.9e-6: use this run."
    )


def test_a_worse_model_sends_back_to_the_run_it_started_from() -> None:
    text = said(judged(MOST), judged(HALF))
    assert text.startswith("GRPO is worse than SFT: 50% against 75% correct on 80 problems, -25 ")
    assert text.endswith(f"use the SFT run {RUN}.")


def test_a_tie_says_how_many_problems_would_tell() -> None:
    text = said(judged("x" * 30 + "." * 50), judged("." * 8 + "x" * 34 + "." * 38))
    assert text.startswith("GRPO cannot be told apart from SFT: 42% against 38% correct")
    assert "about 790 problems would be needed" in text
    assert text.endswith(f": use the SFT run {RUN}.")


def test_more_problems_are_needed_than_there_were() -> None:
    text = said(judged("." * 5), judged("x" * 5))  # p = 0.06, though nothing could be clearer
    assert "about 6 problems would be needed" in text


def test_no_difference_at_all() -> None:
    text = said(judged(HALF), judged(HALF))
    assert "no change" in text
    assert "as many problems were won as lost" in text
    assert text.endswith(f": use the SFT run {RUN}.")


def test_a_tie_with_a_broken_format_says_so() -> None:
    text = said(judged(HALF), judged(HALF, formed=HALF))
    assert "well formed less often: 50% against 100% well formed" in text
    assert text.endswith(f": use the SFT run {RUN}.")


def test_a_tie_with_a_learned_format_leaves_the_choice() -> None:
    text = said(judged(HALF, formed="." * 80), judged(HALF))
    assert "well formed more often: 100% against 0% well formed" in text
    assert text.endswith(f"use this run if the format matters to you, otherwise the SFT run {RUN}.")


def test_a_win_with_a_broken_format_says_so() -> None:
    text = said(judged(HALF), judged(MOST, formed=HALF))
    assert text.startswith("GRPO beats SFT")
    assert "but it is well formed less often: 50% against 100%" in text


def test_a_start_without_a_run_is_the_stock_model() -> None:
    text = verdict(
        {"base, zero-shot": judged(MOST), "GRPO": judged(HALF)},
        trained="GRPO",
        start_name="base, zero-shot",
        start_run=None,
    )
    assert text.endswith(": use the stock model.")


def test_a_third_model_that_beats_the_best_of_both_is_named() -> None:
    base = judged("x" * 78 + "..")
    assert "Yet base beats GRPO: 98% against 75% correct" in said(
        judged(HALF), judged(MOST), base=base
    )
    assert "Yet base beats SFT" in said(judged(HALF), judged(HALF), base=base)
    assert "Yet" not in said(judged(HALF), judged(MOST), base=judged("." * 80))


def test_models_that_answered_other_problems_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same problems"):
        said(judged("x."), judged("x.")[::-1])
    with pytest.raises(KeyError):
        verdict({"SFT": judged("x")}, trained="GRPO", start_name="SFT", start_run=None)


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(1.0, "p = 1"), (0.0312, "p = 0.031"), (2.34e-7, "p = 2.3e-7"), (1e-300, "p < 1e-12")],
)
def test_p_values_are_short(p_value: float, text: str) -> None:
    assert format_p(p_value) == text


def rewarded(rewards: Sequence[float], domain: str = "stories") -> list[Scored]:
    """Completions of which nothing decides whether they are right."""
    return [
        replace(one, correct=None, reward=reward, domain=domain, example_id=f"{domain} {n}")
        for n, (one, reward) in enumerate(zip(judged("." * len(rewards)), rewards, strict=True))
    ]


def test_rewards_decide_where_no_answer_is_right_or_wrong() -> None:
    low, high = [0.2, 0.4] * 20, [0.5, 0.6] * 20
    assert said(rewarded(low), rewarded(high)) == (
        "GRPO earns more than SFT: 0.55 against 0.30 reward on 40 problems "
        "(95% of the change +0.23 to +0.27): use this run."
    )
    worse = said(rewarded(high), rewarded(low))
    assert worse.startswith("GRPO earns less than SFT")
    assert f"use the SFT run {RUN}. In stories its reward fell from 0.55 to 0.30" in worse
    assert "cannot be told apart" in said(rewarded(low), rewarded(low[::-1]))


def test_a_domain_that_fell_is_named_though_another_one_decides() -> None:
    up = [replace(one, reward=float(bool(one.correct))) for one in judged(MOST)]
    down = [replace(one, reward=float(bool(one.correct))) for one in judged(HALF)]
    text = said([*down, *rewarded([0.6, 0.7] * 10)], [*up, *rewarded([0.3, 0.2] * 10)])
    assert text.startswith("GRPO beats SFT: 75% against 50% correct on 80 problems")
    assert text.endswith(
        "In stories its reward fell from 0.65 to 0.25 (95% of the change -0.45 to -0.35)."
    )
