"""Each known data set from a few rows with the hub's own columns."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.data.choices import SOURCES
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.row_source import RowSource
from reasoning_lab.data.sources.cot_collection import CotCollection
from reasoning_lab.data.sources.engaging_story import EngagingStory
from reasoning_lab.data.sources.glaive import Glaive
from reasoning_lab.data.sources.gsm8k import Gsm8k
from reasoning_lab.data.sources.mbpp import Mbpp
from reasoning_lab.data.sources.multiple_choice import MultipleChoice
from reasoning_lab.data.sources.openo1 import OpenO1
from reasoning_lab.data.sources.raiden import Raiden
from reasoning_lab.data.sources.scitldr import Scitldr
from reasoning_lab.data.sources.writing_prompts import WritingPrompts

Found = list[Example | Dropped]


def read(
    kind: type[RowSource],
    folder: Path,
    *rows: Mapping[str, Any],
    held_out: bool = False,
    **more: Any,
) -> Found:
    """What a source gives for the rows, in their order."""
    file = folder / "train.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    fields = {"path": str(file), "shuffle_buffer": 1, "held_out_split": None, **more}
    source = kind(**fields)
    stream = source.held_out_examples if held_out else source.examples
    return list(stream(name="mine", seed=0) or ())


def good(found: Sequence[Example | Dropped]) -> list[Example]:
    assert all(isinstance(one, Example) for one in found), found
    return [one for one in found if isinstance(one, Example)]


def reasons(found: Sequence[Example | Dropped]) -> list[str]:
    return [one.reason for one in found if isinstance(one, Dropped)]


def test_gsm8k(tmp_path: Path) -> None:
    row = {"question": "Clips?", "answer": "48/2 = <<48/2=24>>24 clips.\n#### 24"}
    one, two = read(Gsm8k, tmp_path, row, {"question": "No?", "answer": "no separator"})

    assert isinstance(one, Example)
    assert (one.reasoning, one.answer, one.kind) == ("48/2 = 24 clips.", "24", "exact")
    assert (one.domain, one.licence) == ("math", "MIT")
    assert two == Dropped(
        f"{tmp_path}/train.jsonl: row 2", "no answer", "question: No? | answer: no separator"
    )


def mbpp_row(task: int, **more: Any) -> dict[str, Any]:
    return {
        "task_id": task,
        "text": f"Write a function to add {task}.",
        "code": f"def f(n):\r\n  return n + {task}\r\n",
        "test_list": [f"assert f(0) == {task}", f"assert f(1) == {task + 1}"],
        "test_setup_code": "import math\r\n",
        "challenge_test_list": [f"assert f(-1) == {task - 1}"],
        **more,
    }


def test_mbpp_shows_one_test_and_hides_the_others(tmp_path: Path) -> None:
    (one,) = good(read(Mbpp, tmp_path, mbpp_row(601)))

    assert one.question == (
        "Write a function to add 601.\nFor example, this must hold:\nassert f(0) == 601"
    )
    assert one.tests == ("assert f(0) == 601", "assert f(1) == 602", "assert f(-1) == 600")
    assert (one.kind, one.setup) == ("code", "import math")
    assert one.answer == "def f(n):\n  return n + 601"
    assert one.reasoning == "Define f(n). Return n + 601."
    assert one.id == "MBPP task 601"
    (plain,) = good(read(Mbpp, tmp_path, mbpp_row(601), derive_reasoning=False))
    assert plain.reasoning is None


def test_mbpp_rows_that_give_no_problem(tmp_path: Path) -> None:
    rows = [
        mbpp_row(1, test_list=[], challenge_test_list=None),
        mbpp_row(2, code=None),
        mbpp_row(3, text=""),
    ]
    assert reasons(read(Mbpp, tmp_path, *rows)) == ["no tests", "no answer", "no question"]


def test_one_file_of_mbpp_is_split_by_task(tmp_path: Path) -> None:
    rows = [mbpp_row(task) for task in (5, 11, 510, 511, 600, 601, 974)]
    ids = {
        held_out: [
            one.id for one in read(Mbpp, tmp_path, *rows, held_out=held_out, held_out_split="test")
        ]
        for held_out in (False, True)
    }
    assert ids == {
        False: ["MBPP task 601", "MBPP task 974"],
        True: ["MBPP task 11", "MBPP task 510"],
    }
    sliced = read(Mbpp, tmp_path, *rows, split="validation[1:]", held_out_split="test")
    assert [one.id for one in sliced] == ["MBPP task 600"]
    assert len(read(Mbpp, tmp_path, *rows)) == 7
    with pytest.raises(ConfigError, match="MBPP has no split dev; it has prompt, test, val"):
        read(Mbpp, tmp_path, *rows, split="dev", held_out_split="test")


SCIQ = {
    "question": "What shines?",
    "distractor1": "the Moon",
    "distractor2": "a stone",
    "distractor3": "ice",
    "correct_answer": "the Sun",
    "support": "Stars shine. The Sun is a star.",
}
CHOICES = {
    "SciQ": SCIQ,
    "ARC": {
        "id": "x",
        "question": "What shines?",
        "choices": {"text": ["the Moon", "the Sun"], "label": ["A", "B"]},
        "answerKey": "B",
    },
    "ARC with numbers": {
        "question": "What shines?",
        "choices": {"text": ["the Moon", "the Sun"], "label": ["1", "2"]},
        "answerKey": "2",
    },
    "OpenBookQA": {
        "question_stem": "What shines?",
        "choices": {"text": ["the Moon", "the Sun"], "label": ["A", "B"]},
        "answerKey": "B",
        "fact1": "the Sun is a star",
    },
    "MMLU": {
        "question": "What shines?",
        "subject": "astronomy",
        "choices": ["the Moon", "the Sun"],
        "answer": 1,
    },
    "llm-foundry": {
        "query": "Question: What shines?",
        "choices": ["the Moon", "the Sun"],
        "gold": 1,
    },
}


@pytest.mark.parametrize("kind", CHOICES)
def test_multiple_choice_in_every_shape(tmp_path: Path, kind: str) -> None:
    (one,) = good(read(MultipleChoice, tmp_path, CHOICES[kind]))

    lines = one.question.splitlines()
    assert lines[0] == "What shines?"
    assert lines[1:] == [f"{'ABCD'[place]}: {text}" for place, text in enumerate(one.options)]
    assert one.answer in lines
    assert one.answer.endswith(": the Sun")
    assert (one.kind, one.domain) == ("choice", "science")
    support = {"SciQ": SCIQ["support"], "OpenBookQA": "The Sun is a star."}
    assert one.reasoning == support.get(kind)
    derived = good(read(MultipleChoice, tmp_path, CHOICES[kind], derive_reasoning=True))
    assert derived[0].reasoning


def test_options_of_sciq_are_shuffled_and_each_row_always_alike(tmp_path: Path) -> None:
    rows = [{**SCIQ, "question": f"What shines {n}?"} for n in range(40)]
    first = good(read(MultipleChoice, tmp_path, *rows))
    other = good(read(MultipleChoice, tmp_path, *reversed(rows)))

    assert {one.answer[0] for one in first} == set("ABCD")
    assert {one.question for one in first} == {one.question for one in other}


def test_choices_that_cannot_be_read(tmp_path: Path) -> None:
    rows = [
        {**CHOICES["ARC"], "answerKey": "E"},
        {**CHOICES["ARC"], "choices": {"text": ["x"], "label": ["A"]}},
        {**CHOICES["MMLU"], "choices": None},
        {**CHOICES["MMLU"], "answer": None},
    ]
    assert reasons(read(MultipleChoice, tmp_path, *rows)) == [
        *("answer not among the options", "no options"),
        *("no options", "answer not among the options"),
    ]
    with pytest.raises(ConfigError, match=r"columns prompt, gold.*answerKey, choices, question;"):
        read(MultipleChoice, tmp_path, {"prompt": "x", "gold": "y"})


def test_scitldr(tmp_path: Path) -> None:
    row = {
        "source": ["We study loss.", "Networks are\n deep."],
        "source_labels": [1, 0],
        "rouge_scores": [0.5, 0.1],
        "paper_id": "abc",
        "target": ["A study of loss.", "Another."],
    }
    one, two = read(Scitldr, tmp_path, row, {**row, "target": []})

    assert isinstance(one, Example)
    assert one.document == "We study loss. Networks are deep."
    assert one.question == f"Sum up this abstract in one sentence.\n{one.document}"
    assert (one.id, one.kind, one.domain) == ("SciTLDR paper abc", "open", "summarization")
    assert (one.reasoning or "").startswith("Key points of the text:\n- We study loss.\n")
    assert one.answer == "A study of loss."
    assert reasons([two]) == ["no answer"]


def test_writing_prompts(tmp_path: Path) -> None:
    story = "Mia slept well that night. <newline> <newline> Then she woke up early. She saw Mia."
    rows = [
        {"prompt": prompt, "story": story}
        for prompt in ("[WP] A dream.", "[ WP ] A dream.", "[WP][TT] A dream.", " A dream.\n")
    ]
    found = good(read(WritingPrompts, tmp_path, *rows))

    assert {one.question for one in found} == {"Write a story for this prompt: A dream."}
    assert "night. \n \n Then" in found[0].answer
    assert (found[0].reasoning or "").startswith("Characters and places: Mia.\nBeginning: Mia")
    assert reasons(read(WritingPrompts, tmp_path, {"prompt": "[WP]", "story": story})) == [
        "no question"
    ]


def test_engaging_story(tmp_path: Path) -> None:
    row = {
        "title": "The fox",
        "story_plot_reasoning": "First a fox.",
        "story_plot_solution": "A fox comes.",
        "story_world_prompt": "Describe the wood.",
        "story_world_reasoning": "Trees.",
        "story_world_solution": "A wood of firs.",
        "story_end_reasoning": None,
        "story_end_solution": "All is well.",
        "story_odd_reasoning": "No solution beside it.",
    }
    plot, world, end = read(EngagingStory, tmp_path, row)

    assert isinstance(plot, Example)
    assert isinstance(world, Example)
    assert (plot.question, plot.reasoning) == ("Story plot: The fox", "First a fox.")
    assert plot.id.endswith("row 1 story_plot")
    assert (world.question, world.answer) == ("Story world: Describe the wood.", "A wood of firs.")
    assert (plot.kind, plot.domain) == ("open", "creative")
    assert reasons([end]) == ["no reasoning"]
    named = read(EngagingStory, tmp_path, {**row, "about": "foxes"}, question="about")
    assert {one.question for one in named if isinstance(one, Example)} == {
        "Story plot: foxes",
        "Story world: foxes",
    }
    for wrong in ({"story": "x"}, {"story_a_reasoning": "x", "story_a_solution": "y"}):
        with pytest.raises(ConfigError, match=r"it has story.*data\.sources\.mine\.question=…"):
            read(EngagingStory, tmp_path, wrong)


@pytest.mark.parametrize("kind", [Glaive, Raiden])
def test_answers_with_think_tags(tmp_path: Path, kind: type[RowSource]) -> None:
    responses = ["<think>why</think>so", "<think>a<think>b</think>c", "<think>why why why", None]
    found = read(kind, tmp_path, *({"prompt": "Q?", "response": one} for one in responses))

    (one,) = good(found[:1])
    assert (one.question, one.reasoning, one.answer) == ("Q?", "why", "so")
    assert (one.kind, one.domain, one.licence) == ("open", "general", "Apache-2.0")
    assert reasons(found) == ["broken tags", "unfinished reasoning", "no tags"]


def test_openo1(tmp_path: Path) -> None:
    output = "<Thought>\nwhy\n</Thought>\n<Output>\nso\n</Output>"
    (one,) = good(read(OpenO1, tmp_path, {"instruction": "Q?", "output": output}))
    assert (one.question, one.reasoning, one.answer) == ("Q?", "why", "so")


def test_cot_collection(tmp_path: Path) -> None:
    row = {"source": "Q?", "rationale": "why", "target": "so", "task": "x", "type": "CoT"}
    found = read(CotCollection, tmp_path, row, {**row, "rationale": " "})
    (one,) = good(found[:1])
    assert (one.question, one.reasoning, one.answer, one.kind) == ("Q?", "why", "so", "exact")
    assert reasons(found) == ["no reasoning"]


OF_ROWS = {kind: source for kind, source in SOURCES.items() if issubclass(source, RowSource)}


@pytest.mark.parametrize("kind", OF_ROWS)
def test_wrong_columns_are_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.sources\.mine: row 1 of .*(?:it has|has the) "):
        read(OF_ROWS[kind], tmp_path, {"spam": 1, "eggs": 2})


@pytest.mark.parametrize("kind", sorted(OF_ROWS.keys() - {"table"}))
def test_a_known_data_set_needs_no_more_than_its_name(kind: str) -> None:
    source: Any = OF_ROWS[kind]()
    assert source.path.startswith("hf:")
    assert source.licence != "unknown"
    assert source.rows is None or source.shuffle_buffer == 1000
