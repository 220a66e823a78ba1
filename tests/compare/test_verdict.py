import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.compare.compare import compare
from reasoning_lab.compare.comparison import Axis, Verdict
from reasoning_lab.compare.sweep_command import value_beyond
from reasoning_lab.compare.table import as_markdown
from reasoning_lab.config import ConfigError
from tests.compare.run_folders import Values, write_run, write_sweep

RANKS = {"lora.rank": ["8", "16", "32"]}


def by_rank(*chances: float) -> Callable[[Values], float]:
    """The effect in which the ranks of RANKS, in order, have these chances."""
    return lambda values: chances[RANKS["lora.rank"].index(values["lora.rank"])]


def verdict_on(
    folder: Path, seeds: int, *chances: float, problems: int = 64, **keywords: Any
) -> Verdict:
    effect = by_rank(*chances) if chances else None
    sweep = write_sweep(
        folder / "ranks", RANKS, seeds, steps=4, problems=problems, effect=effect, **keywords
    )
    return compare([sweep]).verdict


def test_a_setting_that_beats_all_others_is_recommended(tmp_path: Path) -> None:
    verdict = verdict_on(tmp_path, 3, 0.2, 0.8, 0.3)
    assert verdict.winner == "lora.rank=16"
    assert verdict.contenders == ("lora.rank=16",)
    assert verdict.headline.startswith("Use lora.rank=16: 0.")
    assert "each of the 2 other settings" in verdict.headline
    assert any(
        line.startswith("lora.rank makes a difference: 16 gives") for line in verdict.details
    )
    assert verdict.next_command == ""


def test_a_winner_at_the_edge_is_looked_for_beyond_it(tmp_path: Path) -> None:
    verdict = verdict_on(tmp_path, 3, 0.2, 0.3, 0.9)
    assert verdict.winner == "lora.rank=32"
    assert shlex.split(verdict.next_command) == [
        "python", "launch.py", "-m", "stage=grpo", "lora.rank=64", "seed=0,1,2", "sweep.name=ranks",
    ]  # fmt: skip
    assert "lora.rank=32 is at the edge" in verdict.next_reason


def test_settings_that_cannot_be_told_apart_get_more_seeds_and_no_winner(tmp_path: Path) -> None:
    verdict = verdict_on(tmp_path, 2, 0.1, 0.76, 0.8)
    assert verdict.winner is None
    assert set(verdict.contenders) == {"lora.rank=32", "lora.rank=16"}
    assert "cannot be told apart" in verdict.headline
    words = shlex.split(verdict.next_command)
    assert set(words[4].removeprefix("lora.rank=").split(",")) == {"16", "32"}
    assert words[5].startswith("seed=2,")
    assert words[-1] == "sweep.name=ranks"


def test_equal_settings_are_not_worth_more_seeds(tmp_path: Path) -> None:
    verdict = verdict_on(tmp_path, 2, 1.0, 1.0, 1.0)
    sweep = tmp_path / "ranks"
    assert compare([sweep], metric_name="correct").verdict.winner is None
    verdict = compare([sweep], metric_name="correct").verdict
    assert len(verdict.contenders) == 3
    assert "more seeds each would not do it" in verdict.headline
    assert verdict.next_command == ""
    assert "take the cheapest" in verdict.next_reason
    assert any("No effect is found of lora.rank" in line for line in verdict.details)


def test_the_cheapest_contender_is_named(tmp_path: Path) -> None:
    sweep = write_sweep(
        tmp_path / "s",
        {"hardware.fsdp": ["1", "4"]},
        2,
        effect=lambda values: 0.5 if values["hardware.fsdp"] == "1" else 0.7,
    )
    verdict = compare([sweep]).verdict
    assert verdict.contenders == ("hardware.fsdp=4", "hardware.fsdp=1")
    cheapest = next(line for line in verdict.details if "The cheapest" in line)
    assert "hardware.fsdp=1: 1.0 device-minutes a run, against 4.0" in cheapest


def test_one_seed_compares_models_and_asks_for_seeds(tmp_path: Path) -> None:
    verdict = verdict_on(tmp_path, 1, 0.1, 0.2, 0.95)
    assert verdict.winner == "lora.rank=32"
    assert "compares trained models, not settings" in verdict.headline
    assert not verdict.headline.startswith("Use")
    words = shlex.split(verdict.next_command)
    assert "seed=1,2" in words
    assert words[4] == "lora.rank=32,16"


def test_what_is_unfinished_comes_first(tmp_path: Path) -> None:
    verdict = verdict_on(
        tmp_path, 2, failed=["rank=8-seed=0"], killed=["rank=8-seed=1"], waiting=["rank=16-seed=0"]
    )
    assert "Of 6 runs, 1 failed, 1 killed and 1 not started." in verdict.details
    assert "sweep.retry_failed=true" in shlex.split(verdict.next_command)
    assert "seed=0,1" in shlex.split(verdict.next_command)


def test_while_runs_go_on_nothing_is_proposed(tmp_path: Path) -> None:
    verdict = verdict_on(tmp_path, 2, running=["rank=8-seed=0"])
    assert verdict.next_command == ""
    assert "1 run under way" in verdict.next_reason


@pytest.mark.parametrize("state", ["failed", "waiting", "running", "killed"])
def test_without_a_run_that_ended_there_is_nothing_to_compare(tmp_path: Path, state: str) -> None:
    names = [f"rank={rank}-seed=0" for rank in (8, 16, 32)]
    verdict = verdict_on(tmp_path, 1, **{state: names})
    assert verdict.headline == "None of 3 runs has ended, so there is nothing to compare."
    assert (verdict.winner, verdict.contenders) == (None, ())


def test_a_single_run_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {})
    verdict = compare([run.path]).verdict
    assert verdict.headline.startswith("Only r has a score")
    assert verdict.winner is None


def test_a_higher_score_on_other_problems_is_no_recommendation(tmp_path: Path) -> None:
    easy = write_run(tmp_path / "easy", {"data": "sums"}, chance=0.95, problems=64)
    hard = write_run(tmp_path / "hard", {"data": "proofs"}, chance=0.05, problems=64)
    text = hard.samples_path.read_text()
    hard.samples_path.write_text(text.replace("math: row", "proofs: row"))
    verdict = compare([easy.path, hard.path]).verdict
    assert verdict.winner is None
    assert "did not answer the same problems" in verdict.headline
    assert "evaluate RUN" in verdict.next_reason


def test_sft_without_answers_that_can_be_decided_is_ranked_by_format(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", {"lora.rank": ["8", "16"]}, 2, stage="sft")
    for path in sweep.glob("*/samples.jsonl"):
        text = path.read_text()
        for decided in ("true", "false"):
            text = text.replace(f'"correct": {decided}', '"correct": null')
        path.write_text(
            "".join(line.rpartition(', "reward"')[0] + "}\n" for line in text.splitlines())
        )
    comparison = compare([sweep])
    assert comparison.metric.name == "well_formed"
    assert any("how many answers are well formed" in line for line in comparison.verdict.details)


def test_the_score_is_that_by_which_the_lab_chooses_models(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {}, problems=32)
    comparison = compare([run.path])
    (read,) = comparison.runs
    decided = [one.correct for one in read.trained if one.correct is not None]
    stories = [one.reward or 0.0 for one in read.trained if one.correct is None]
    expected = (sum(decided) / len(decided) + sum(stories) / len(stories)) / 2
    estimate = comparison.settings[0].estimate
    assert estimate is not None
    assert estimate.mean == pytest.approx(expected)


def test_another_metric_can_be_chosen(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", RANKS, 2, effect=by_rank(0.1, 0.5, 0.9))
    loss = compare([sweep], metric_name="train/loss")
    assert not loss.metric.higher_is_better
    assert loss.settings[0].label == "lora.rank=32"
    length = compare([sweep], metric_name="completion/length", lower_is_better=True)
    assert not length.metric.higher_is_better
    assert compare([sweep], metric_name="truncated").metric.higher_is_better is False
    with pytest.raises(ConfigError, match=r"--metric eval/scor: .*Did you mean eval/score\?"):
        compare([sweep], metric_name="eval/scor")


def test_a_run_that_ended_on_no_number_has_no_score(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", RANKS, 1, stage="sft")
    path = sweep / "rank=8-seed=0" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 21, "train/loss": "NaN"}\n')
    verdict = compare([sweep], metric_name="train/loss").verdict
    assert "Ended, but without a score: rank=8-seed=0." in verdict.details


@pytest.mark.parametrize(
    ("values", "best", "beyond"),
    [
        (("8", "16", "32"), "32", "64"),
        (("8", "16", "32"), "8", "4"),
        (("8", "16", "32"), "16", None),
        (("1", "2", "3"), "3", "4"),
        (("1", "2", "3"), "1", None),
        (("1e-5", "3e-5", "9e-5"), "9e-5", "0.00027"),
        (("0.0", "0.02", "0.04"), "0.0", None),
        (("0.0", "0.02", "0.04"), "0.04", "0.06"),
        (("0.8", "0.9", "1.0"), "1.0", None),
        (("2", "3"), "2", None),
        (("sft", "grpo"), "grpo", None),
        (("8",), "8", None),
    ],
)
def test_beyond_the_edge_an_axis_goes_on_as_it_does(
    values: tuple[str, ...], best: str, beyond: str | None
) -> None:
    assert value_beyond(Axis("x", values), best) == beyond


def test_the_next_command_keeps_what_was_typed_and_leaves_a_search(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", RANKS, 1, effect=by_rank(0.1, 0.2, 0.9), problems=64)
    path = sweep / "sweep.json"
    typed = (
        "python launch.py -m sweep=asha sweep.trials=9 +lora.rank=choice(8,16,32) "
        "'lora.target_modules=[q_proj,v_proj]' sweep.name=s"
    )
    path.write_text(
        path.read_text().replace(path.read_text().split('"command": "')[1].split('"')[0], typed)
    )
    words = shlex.split(compare([sweep]).verdict.next_command)
    assert words == [
        "python", "launch.py", "-m", "+lora.rank=32,16", "lora.target_modules=[q_proj,v_proj]",
        "sweep.name=s", "seed=1,2",
    ]  # fmt: skip


def test_the_leading_setting_is_held_against_what_its_training_began_with(tmp_path: Path) -> None:
    better = verdict_on(tmp_path / "a", 2, 0.2, 0.8, 0.3)
    [told] = [line for line in better.details if "began" in line]
    assert told.startswith("It is better than what its training began with (base, zero-shot): 0.")
    useless = verdict_on(tmp_path / "b", 2, 0.1, 0.1, 0.1)
    [told] = [line for line in useless.details if "began" in line]
    assert told.startswith("It is not shown to be better than what its training began with")


def test_docs_show_what_the_example_says() -> None:
    """The committed verdict is what the committed runs give."""
    example = Path(__file__).parents[2] / "docs/examples/lora_kl_rollouts_small"
    comparison = compare([example])
    assert as_markdown(comparison) == (example / "comparison/verdict.md").read_text("utf-8")
    assert comparison.verdict.winner is None
