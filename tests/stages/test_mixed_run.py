"""Several domains at once: SFT and GRPO from rows on disk, each domain with its own reward."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from reasoning_lab.experiment import compose
from reasoning_lab.rewards import format as format_reward
from reasoning_lab.rewards.scoring import RewardError
from reasoning_lab.rewards.specs import Attempt
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import read_names
from reasoning_lab.runs.records import read_records
from reasoning_lab.stages import recipe

DOMAINS = ("math", "code", "science", "summarization", "creative")
STORY = " ".join(f"Anna and Ben walked on day {n}, and it rained on the hills." for n in range(5))
ROWS = {  # the columns of each data set on the hub
    "math": lambda n: {
        "question": f"What is {n} + 1?",
        "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}",
    },
    "code": lambda n: {
        "text": f"Add {n}.",
        "code": f"def add(x):\n    return x + {n}",
        "task_id": 601 + n,
        "test_list": [f"assert add(1) == {n + 1}", f"assert add(0) == {n}"],
        "test_setup_code": "",
        "challenge_test_list": [],
    },
    "science": lambda n: {
        "question": f"What is number {n}?",
        "distractor1": "a stone",
        "distractor2": "a tree",
        "distractor3": "a cat",
        "correct_answer": f"a star of size {n}",
        "support": f"Number {n} shines by itself, and only stars do.",
    },
    "summarization": lambda n: {
        "source": [f"We look at method {n}.", f"It is {n} times faster.", "It is simple."],
        "target": [f"Method {n} is {n} times faster."],
        "paper_id": f"paper {n}",
    },
    "creative": lambda n: {"prompt": f"[WP] Walk number {n}", "story": f"Walk {n}. {STORY}"},
}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The five domains in files of twelve rows, for a random model of a few bytes."""
    folder = tmp_path_factory.mktemp("rows")
    said = ["experiment=quick_cpu", "evaluation.problems=1", "evaluation.few_shot=0"]
    for domain in DOMAINS:
        path = folder / f"{domain}.jsonl"
        path.write_text("\n".join(json.dumps(ROWS[domain](n)) for n in range(12)))
        said.append(f"data.sources.{domain}.path={path}")
        said.append(f"data.sources.{domain}.rows=8")
        said.append(f"data.sources.{domain}.held_out_split=null")
    return said


def grpo(words: list[str], runs_dir: Path) -> list[str]:
    return [
        *words,
        "data=mixed",
        "data.adaptive=true",
        "stage=grpo",
        "reward=five_domains",
        "stage.batch_size=5",
        "stage.num_generations=2",
        "stage.max_prompt_length=640",
        "stage.max_completion_length=8",
        "stage.max_steps=4",
        "stage.checkpoint_every=1",
        "stage.rollouts_every=1",
        "stage.eval_every=4",
        "stage.eval_problems=1",
        f"runs_dir={runs_dir}",
    ]


def run(words: list[str]) -> RunFolder:
    return recipe.run(compose(words))


@pytest.fixture(scope="module")
def mixed(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(grpo(words, tmp_path_factory.mktemp("whole")))


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # by Tunix


def test_each_domain_is_rewarded_by_its_own_parts(mixed: RunFolder) -> None:
    rollouts = read_records(mixed.rollouts_path)
    assert {record["domain"] for record in rollouts} == set(DOMAINS)
    for record in rollouts:
        parts = {name for name in record if name.startswith("reward/")}
        assert parts == {f"reward/{record['domain']}", "reward/format", "reward/repetition"}
        undecided = record["domain"] in ("summarization", "creative")
        assert (record["correct"] is None) == undecided


def test_every_domain_is_in_metrics_report_and_pictures(mixed: RunFolder) -> None:
    names = set(read_names(mixed.metrics_path))
    report = mixed.report_path.read_text()
    for domain in DOMAINS:
        assert {
            *(f"domain/{domain}/{what}" for what in ("reward", "live", "share", "wanted")),
            f"eval/{domain}/reward",
        } <= names
        assert f"- {domain}: Of " in report
        assert f"| {domain} | " in report
    assert ("eval/math/correct" in names) > ("eval/creative/correct" in names)
    assert {"eval/score", "eval/reward", "eval/correct"} <= names
    assert (mixed.path / "reward_by_domain.svg").exists()
    assert "Format by domain, GRPO" in report
    funnel = json.loads(mixed.funnel_path.read_text())
    assert [row["source"] for row in funnel] == list(DOMAINS)
    assert {row["kept"] for row in funnel} == {8}


def test_an_adaptive_run_that_failed_goes_on_as_if_it_had_not(
    words: list[str], mixed: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, calls = format_reward._score, []

    def fail_once(attempt: Attempt) -> float:
        calls.append(attempt)
        if len(calls) == 35:  # in the third step of ten completions, behind evaluations
            raise ZeroDivisionError
        return score(attempt)

    monkeypatch.setattr(format_reward, "_score", fail_once)
    with pytest.raises(RewardError):
        run(grpo(words, tmp_path))
    [path] = tmp_path.iterdir()
    folder = RunFolder.open(path)
    assert 0 < len(read_records(folder.rollouts_path)) < 40
    recipe.resume(folder)

    def comparable(folder: RunFolder) -> Sequence[object]:
        return read_records(folder.rollouts_path)

    assert comparable(folder) == comparable(mixed)


def test_supervised_fine_tuning_cuts_domains_to_their_shares(
    words: list[str], tmp_path: Path
) -> None:
    lengths = ["stage.max_length=1200", "stage.batch_tokens=2400", f"runs_dir={tmp_path}"]
    folder = run([*words, "data=mixed", "data.weights.math=2.0", *lengths])
    funnel = {row["source"]: row for row in json.loads(folder.funnel_path.read_text())}
    assert {name: row["kept"] for name, row in funnel.items()} == {
        name: 8 if name == "math" else 4 for name in DOMAINS
    }
    assert funnel["code"]["removed"] == {"beyond its share": 4}
    assert "Format by domain, tuned" in folder.report_path.read_text()


def test_stories_alone_can_be_reinforced_though_none_is_right(
    words: list[str], tmp_path: Path
) -> None:
    path = next(word.partition("=")[2] for word in words if "creative.path" in word)
    folder = run(
        [
            *[word for word in grpo([], tmp_path) if not word.startswith("data")],
            "experiment=quick_cpu",
            "evaluation.problems=1",
            "evaluation.few_shot=0",
            "data=writing_prompts",
            f"data.sources.writing_prompts.path={path}",
            "data.sources.writing_prompts.rows=8",
            "data.sources.writing_prompts.held_out_split=null",
            "stage.max_steps=1",
            "reward=[creative,length]",
            "reward.length.weight=9.0",
        ]
    )
    names = set(read_names(folder.metrics_path))
    assert "reward/creative" in names
    assert not {"rollout/correct", "eval/correct"} & names
    [score] = {r["eval/score"] for r in read_records(folder.metrics_path) if "eval/score" in r}
    assert score < -1
    assert [path.name for path in folder.best_dir.iterdir() if path.name.isdigit()] == ["0"]
    assert "reward on 1 problems" in folder.report_path.read_text()
