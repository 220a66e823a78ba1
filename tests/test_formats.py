import time

import pytest

from reasoning_lab.data.example import Example
from reasoning_lab.formats import (
    INSTRUCTION,
    TAGS,
    few_shot_prompt,
    parse,
    render_completion,
    render_prompt,
    until_next_question,
)


def an_example(number: int, reasoning: str | None = "1 + 1 = 2.") -> Example:
    return Example(str(number), "s", "d", f"question {number}", reasoning, f"answer {number}", "")


def test_what_is_rendered_parses_back() -> None:
    parsed = parse(render_completion("9 + 9 = 18.\nSo 18 < 20 & 18 > 3.", "18"))

    assert parsed.well_formed
    assert parsed.reasoning == "9 + 9 = 18.\nSo 18 < 20 & 18 > 3."
    assert parsed.answer == "18"


def test_the_prompt_names_all_tags_and_takes_any_question() -> None:
    prompt = render_prompt("What is {x} in {} and {question}?")

    assert prompt.endswith("\nWhat is {x} in {} and {question}?")
    assert all(tag in prompt for tag in TAGS)
    assert len(INSTRUCTION.split()) <= 45


@pytest.mark.parametrize(
    "text",
    [
        "<reasoning>a</reasoning><answer>b</answer>",
        "\n <reasoning> a </reasoning>\n\n<answer>\nb\n</answer> \n",
        "<reasoning>a <think> b</reasoning><answer><b>b</b></answer>",
    ],
)
def test_white_space_and_other_tags_are_allowed(text: str) -> None:
    assert parse(text).well_formed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "<reasoning> is missing"),
        ("42", "<answer> is missing"),
        ("<reasoning>a</reasoning>", "</answer> is missing"),
        ("<reasoning>a</reasoning><answer>b", "</answer> is missing"),
        ("<reasoning>a<answer>b</answer>", "</reasoning> is missing"),
        ("<Reasoning>a</Reasoning><answer>b</answer>", "<reasoning> is missing"),
        ("<reasoning>a</reasoning><answer>b</answer><answer>c</answer>", "<answer> stands 2 times"),
        ("<reasoning>a<answer>b</answer></reasoning>", "the tags are out of order"),
        ("<answer>b</answer><reasoning>a</reasoning>", "the tags are out of order"),
        ("</reasoning>a<reasoning><answer>b</answer>", "the tags are out of order"),
        ("So: <reasoning>a</reasoning><answer>b</answer>", "there is text outside the tags"),
        ("<reasoning>a</reasoning>, <answer>b</answer>", "there is text outside the tags"),
        ("<reasoning>a</reasoning><answer>b</answer>.", "there is text outside the tags"),
        ("<reasoning> \n</reasoning><answer>b</answer>", "the reasoning is empty"),
        ("<reasoning>a</reasoning><answer>\t</answer>", "the answer is empty"),
    ],
)
def test_every_flaw_is_named(text: str, problem: str) -> None:
    parsed = parse(text)

    assert not parsed.well_formed
    assert problem in parsed.problems


def test_of_two_answers_none_counts() -> None:
    assert parse("<answer>1</answer><answer>2</answer>").answer is None
    assert parse("</answer>1<answer>").answer is None
    assert parse("Well. <answer>1</answer>").answer == "1"


@pytest.mark.parametrize(
    "piece", ["<reasoning>", "<answer>", "</answer>", "<", " ", "<reasoning>a"]
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    text = piece * 300_000
    started = time.process_time()

    assert not parse(text).well_formed
    assert time.process_time() - started < 2


def test_few_shot_prompt_shows_the_format_and_ends_at_the_question() -> None:
    prompt = few_shot_prompt([an_example(1), an_example(2)], "question 3")

    assert prompt.count(INSTRUCTION) == 1
    assert prompt.endswith(
        "Question: question 2\n"
        "<reasoning>1 + 1 = 2.</reasoning>\n<answer>answer 2</answer>\n\n"
        "Question: question 3\n"
    )


def test_few_shot_completion_is_cut_before_the_next_question() -> None:
    completion = render_completion("1 + 2 = 3.", "3")

    assert until_next_question(completion + "\n\nQuestion: more?\n<reasoning>") == completion
    assert until_next_question(completion) == completion


def test_few_shot_prompt_needs_reasoning() -> None:
    with pytest.raises(ValueError, match="question 1"):
        few_shot_prompt([an_example(1, reasoning=None)], "question 2")
