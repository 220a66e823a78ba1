import ast
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from reasoning_lab.__main__ import main
from reasoning_lab.config import ConfigError, RunError, spec
from reasoning_lab.experiment import compose_rewards
from reasoning_lab.formats import parse, render_completion
from reasoning_lab.rewards.choices import REWARDS
from reasoning_lab.rewards.format import Format
from reasoning_lab.rewards.length import Length
from reasoning_lab.rewards.lint.attack import ALL_CHEATS, Report, lint
from reasoning_lab.rewards.lint.problem import Problem
from reasoning_lab.rewards.lint.problems import PROBLEMS
from reasoning_lab.rewards.math import Math
from reasoning_lab.rewards.repetition import Repetition
from reasoning_lab.rewards.specs import Attempt, Reward

CONF = Path(__file__).parents[2] / "conf" / "reward"
CHOICES = sorted({file.stem for file in CONF.glob("*.yaml")} - {"function"})
CHEAT_NAMES = {cheat.name for cheat in ALL_CHEATS}
ALL_PROBLEMS = [problem for some in PROBLEMS.values() for problem in some]


def winners(report: Report) -> set[str]:
    return {finding.cheat.name for finding in report.wins}


@pytest.mark.parametrize("choice", [*CHOICES, "[math,format]", "[creative,format,repetition]"])
def test_no_cheat_wins_any_reward_but_the_basic_one(choice: str) -> None:
    report = lint(compose_rewards([f"reward={choice}"]))
    if choice == "creative_basic":
        assert winners(report) >= {"key words", "shuffled words", "reasoning as answer"}
    else:
        assert not winners(report)


def test_the_router_is_tried_on_all_five_domains() -> None:
    report = lint(compose_rewards(["reward=five_domains"]))
    assert list(report.honest) == ["math", "code", "science", "summarization", "creative"]
    assert all(earned.mean > 1 for earned in report.honest.values())
    for domain, earned in report.honest.items():
        assert set(earned.components) == {domain, "format", "repetition"}


def test_every_reward_names_only_cheats_and_domains_that_there_are() -> None:
    assert len(CHEAT_NAMES) == len(ALL_CHEATS)
    for reward in REWARDS.values():
        assert reward.blind_to | (reward.sees or set()) <= CHEAT_NAMES
        assert set(reward.made_for or ()) <= set(PROBLEMS)
    assert Format.sees
    assert Length.sees
    assert Repetition.sees == {"repeated text", "endless reasoning", "padded reasoning"}
    assert not Math.may_see("nested tags")
    assert Math.may_see("hedged answer")


@pytest.mark.parametrize("problem", ALL_PROBLEMS, ids=lambda problem: problem.example.id[:30])
def test_honest_answers_are_well_formed_and_no_cheat_is_one(problem: Problem) -> None:
    honest = [render_completion(one.reasoning, one.answer) for one in problem.honest]
    assert all(parse(completion).well_formed for completion in honest)
    (other, *_) = (one for one in PROBLEMS[problem.example.domain] if one is not problem)
    assert not set(honest) & {cheat.write(problem, other) for cheat in ALL_CHEATS}


def test_cheating_programs_are_programs() -> None:
    problem, other = PROBLEMS["code"]
    for cheat in ALL_CHEATS:
        completion = cheat.write(problem, other)
        if cheat.name in ("equal to anything", "dies when called", "broken builtins"):
            program = parse(completion or "").answer or ""
            assert "def count_vowels" in program
            ast.parse(program)


@spec
class Constant(Reward):
    """Gives everything the same."""

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        return [1.0] * len(attempts)


@spec
class NotANumber(Reward):
    """Gives what is no number."""

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        return [float("nan")] * len(attempts)


def test_a_reward_that_sees_nothing_loses_to_every_cheat() -> None:
    report = lint({"constant": Constant(domains=("math",))})
    assert len(winners(report)) == len(report.findings)


def test_a_part_that_cannot_see_a_cheat_does_not_hide_it() -> None:
    """Format pays a hedged answer as an honest one: only what the other part pays is compared."""
    report = lint({"constant": Constant(domains=("math",)), "format": Format()})
    assert "hedged answer" in winners(report)
    report = lint({"math": Math(), "format": Format(weight=50.0)})
    assert not winners(report)
    (hedged,) = [one for one in report.findings if one.cheat.name == "hedged answer"]
    assert hedged.share == pytest.approx(0.2)


def test_what_no_part_sees_is_no_win() -> None:
    report = lint({"format": Format()})
    unseen = {finding.cheat.name for finding in report.findings if not finding.seen}
    assert unseen == {name for name in CHEAT_NAMES if not Format.may_see(name)}
    assert list(report.honest) == list(PROBLEMS)


def test_a_penalty_that_is_too_small_to_notice_loses() -> None:
    assert not winners(lint({"repetition": Repetition(domains=("math",))}))
    report = lint({"repetition": Repetition(allowed=0.9, domains=("math",))})
    assert winners(report) == {"padded reasoning", "repeated text"}


def test_domains_without_problems_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"reward\.math\.domains=addition.*math, code, science"):
        lint({"math": Math(domains=("addition",))})
    both = lint({"math": Math(domains=("addition", "math"))})
    assert list(both.honest) == ["math"]


def test_a_reward_that_gives_no_number_is_named() -> None:
    with pytest.raises(RunError, match=r"mine.*are no number"):
        lint({"mine": NotANumber()})


def test_a_function_of_yours_can_be_linted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lint_me.py").write_text(
        "def longest(attempts):\n    return [len(one.completion) for one in attempts]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("REASONING_LAB_ALLOW_TARGETS", "lint_me")
    path = "reward.function.path=lint_me.longest"
    assert main(["lint-reward", "reward=function", path, "reward.function.domains=[math]"]) == 1
    assert "endless reasoning" in capsys.readouterr().out


def test_the_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    file = tmp_path / "lint.json"
    assert main(["lint-reward", "reward=creative_basic", "--json", str(file)]) == 1
    out = capsys.readouterr().out
    assert "✗ key words (creative) earns" in out
    assert "cheats win: key words" in out
    assert max(map(len, out.splitlines())) <= 80
    record = json.loads(file.read_text("utf-8"))
    assert record["rewards"] == {"creative_basic": "CreativeBasic"}
    (found,) = [one for one in record["cheats"] if one["cheat"] == "key words"]
    assert found["wins"]
    assert found["mean"] > record["honest"]["creative"]["mean"]
    assert main(["lint-reward", "reward=creative"]) == 0
    assert "None of 27 cheats that can be seen wins." in capsys.readouterr().out
    assert main(["lint-reward", "reward=repetition"]) == 0
    out = capsys.readouterr().out
    assert "Not seen by design: " in out
    assert "None of 3 cheats" in out


def test_domains_need_not_be_those_of_any_data() -> None:
    (part,) = compose_rewards(["reward=science", "reward.science.domains=[science]"]).values()
    assert part.domains == ("science",)
    assert set(compose_rewards(["reward.math.max_chars=900"])) == {"math"}


@pytest.mark.parametrize("width", [80, 120])
def test_five_domains_fit_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["lint-reward", "reward=five_domains"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lora.rank=3"], "only reward="),
        (["reward=creativ"], "Did you mean creative?"),
        (["reward=function"], "reward.function.path is missing"),
        (["reward=math", "--json", "/no/such/folder/x.json"], "cannot be written"),
    ],
)
def test_a_mistake_is_told(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint-reward", *words]) == 2
    assert told in capsys.readouterr().err
