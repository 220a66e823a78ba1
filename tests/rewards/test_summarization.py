import time
from dataclasses import replace

import pytest
from pydantic import ValidationError

from reasoning_lab.formats import render_completion
from reasoning_lab.rewards.lint.problems.summarization import PROBLEMS
from reasoning_lab.rewards.overlap import copied, rouge_1, rouge_l
from reasoning_lab.rewards.specs import Attempt
from reasoning_lab.rewards.summarization import Summarization
from tests.rewards.attempts import HOSTILE

PROBLEM = PROBLEMS[0]
DOCUMENT = PROBLEM.example.document or ""
REFERENCE = PROBLEM.example.answer
SENTENCES = [f"{sentence}." for sentence in DOCUMENT.removesuffix(".").split(". ")]


def score(summary: str, *, truncated: bool = False, **fields: float) -> float:
    one = Attempt(PROBLEM.example, render_completion("It is short.", summary), truncated)
    (value,) = Summarization(**fields).score([one])
    return value


def test_the_order_that_summaries_should_have() -> None:
    honest = [score(one.answer) for one in PROBLEM.honest]
    assert score(REFERENCE) == 1
    assert min(honest) > 0.8
    assert min(honest) > 2 * max(map(score, SENTENCES)) > 0
    assert min(honest) > 4 * score(DOCUMENT) > 0
    assert score(DOCUMENT) > score(PROBLEMS[1].honest[0].answer) == 0


def test_one_copied_sentence_costs_half_of_what_the_document_costs() -> None:
    example = replace(PROBLEM.example, document=f"{DOCUMENT} {REFERENCE}")
    one = Attempt(example, render_completion("", REFERENCE), False)
    assert Summarization(copy_penalty=0.4).score([one])[0] == pytest.approx(0.8, abs=0.05)
    assert Summarization(copy_penalty=0.0).score([one])[0] == 1
    example = replace(example, document=REFERENCE)
    assert Summarization().score([replace(one, example=example)])[0] == pytest.approx(0.6)
    example = replace(example, document=None)
    assert Summarization().score([replace(one, example=example)])[0] == 1


def test_length_counts_only_as_far_as_there_is_overlap() -> None:
    words = REFERENCE.split()
    assert score(REFERENCE, length_weight=1.0) == 1
    assert score(" ".join(words[: len(words) // 4]), length_weight=1.0) < 0.5
    assert score(f"{REFERENCE} " * 6, length_weight=1.0) == 0
    assert score(PROBLEMS[1].example.answer, length_weight=1.0) == 0


@pytest.mark.parametrize(
    "summary", ["", " ".join(sorted(set(REFERENCE.split()))), " ".join(reversed(REFERENCE.split()))]
)
def test_words_that_are_no_sentence_earn_little(summary: str) -> None:
    assert score(summary) < 0.3


def test_without_a_reference_or_whole_answer_there_is_nothing() -> None:
    assert score(REFERENCE, truncated=True) == 0
    without = replace(PROBLEM.example, answer="")
    twice = render_completion("x", REFERENCE) * 2
    attempts = [
        Attempt(without, render_completion("x", REFERENCE), False),
        Attempt(PROBLEM.example, twice, False),
        Attempt(PROBLEM.example, REFERENCE, False),
    ]
    assert Summarization().score(attempts) == [0, 0, 0]


def test_rouge_as_defined() -> None:
    assert rouge_1("the cat sat", "The cat, the dog") == pytest.approx(4 / 7)
    assert rouge_l("police killed the gunman", "police kill the gunman") == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", "police kill the gunman") == pytest.approx(0.5)
    assert rouge_1("", "a") == rouge_l("a", "") == rouge_l("", "") == 0
    assert rouge_1("Äpfel für 3", "äpfel FÜR 3") == 1


def test_what_counts_as_copied() -> None:
    assert copied("b c d", "A b, c d e", 3) == 1
    assert copied("a b c x", "a b c d", 3) == 0.5
    assert copied("b c", "a b c d", 3) == 0


def test_no_hostile_text_raises_or_hangs_or_leaves_the_range() -> None:
    started = time.monotonic()
    example = PROBLEM.example
    attempts = [Attempt(example, text, False) for text in HOSTILE]
    attempts += [Attempt(example, render_completion("x", text), False) for text in HOSTILE]
    attempts += [
        Attempt(
            replace(example, answer=text, document=text), render_completion("x", REFERENCE), False
        )
        for text in HOSTILE
    ]
    long = "the cat and a dog " * 50_000
    attempts.append(
        Attempt(replace(example, answer=long, document=long), render_completion("x", long), False)
    )
    assert all(0 <= value <= 1 for value in Summarization().score(attempts))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"chance": 0.5}, "chance=0.5 must be below good=0.5"),
        ({"min_ratio": 3.0}, "min_ratio=3.0 must be below max_ratio=2.0"),
        ({"copy_penalty": 1.5}, "copy_penalty"),
    ],
)
def test_fields_have_bounds(fields: dict[str, float], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Summarization(**fields)
