"""`python -m reasoning_lab data`: what is shown is what training would get."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reasoning_lab.__main__ import main
from reasoning_lab.experiment import compose
from reasoning_lab.formats import render_completion, render_prompt
from reasoning_lab.stages.data_page import data_page
from reasoning_lab.stages.look_at_data import look_at

SMALL = ["experiment=quick_cpu", "data.sources.running_sum.rows=40"]
FOUR_DOMAINS = ["data=four_skills", "evaluation.problems=2"]


@pytest.fixture
def table(tmp_path: Path) -> list[str]:
    """A table of your own with everything in it that filters remove."""
    rows = [
        {"question": f"What is {n} + 1?", "reasoning": f"{n} + 1 = {n + 1}.", "answer": f"{n + 1}"}
        for n in range(20)
    ]
    rows += [
        {"question": "Loop?", "reasoning": "Hmm, let me see, is it so? " * 30, "answer": "1"},
        {"question": "Tags & <b>?", "reasoning": "<think> so", "answer": "<1> & 2"},
        {"question": "None?", "reasoning": "", "answer": "1"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return ["experiment=quick_cpu", "data=table", f"data.sources.table.path={path}"]


def test_samples_are_shown_as_they_are_tokenised_with_what_is_learnt() -> None:
    look = look_at(compose(SMALL))
    for example in look.samples(5):
        pieces = list(look.pieces(example))
        learnt = "".join(piece for piece, is_learnt in pieces if is_learnt)
        assert example.reasoning is not None
        written = render_completion(example.reasoning, example.answer)
        expected = look.made.tokenizer.completion(written)
        assert learnt == "".join(look.made.tokenizer.pieces(expected))
        assert sum(is_learnt for _, is_learnt in pieces) == len(expected)
        prompt = look.made.tokenizer.prompt(render_prompt(example.question))
        assert [is_learnt for _, is_learnt in pieces[: len(prompt)]] == [False] * len(prompt)


def test_reinforcement_learning_is_given_prompts_and_learns_no_token_of_them() -> None:
    look = look_at(compose([*SMALL, "stage=grpo"]))
    [example] = look.samples(1)
    assert not any(is_learnt for _, is_learnt in look.pieces(example))
    assert look.epochs == pytest.approx(4 * 4 / 40)


def test_samples_come_from_all_sources() -> None:
    look = look_at(compose(FOUR_DOMAINS))
    assert len({example.source for example in look.samples(4)}) == 4
    assert set(look.tokens) == {"addition", "story", "multiplication", "counting"}
    assert sum(map(len, look.tokens.values())) == len(look.mixture.train)


@pytest.mark.parametrize("what", ["show", "stats", "funnel"])
def test_each_verb_prints(what: str, table: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", what, *table]) == 0
    printed = capsys.readouterr().out
    assert "training examples of" in printed
    told = {
        "show": ["tokens given,", "table · table", "learnt, token by token"],
        "stats": ["median", "longest", "100%"],
        "funnel": ["endless loop", "broken tags", "no reasoning", "Hmm, let me see", "69.6%"],
    }
    for part in told[what]:
        assert part in printed, part


class Tags(HTMLParser):
    """Fails at a tag that is never closed or was never opened."""

    VOID = ("meta", "!doctype")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_escapes_what_rows_hold(table: list[str]) -> None:
    page = data_page(look_at(compose(table)), title="Data of <mine>")
    parser = Tags()
    parser.feed(page)
    assert parser.open == []
    assert "Data of <mine>" in parser.text
    assert "<think> so" in parser.text  # among the rows removed
    assert "<start_of_turn>" in parser.text
    assert "endless loop" in parser.text
    assert not re.search(r"(src|href)=|<script", page)
    assert page.count("<rect") >= 1


def test_the_page_is_written_where_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main(["data", "stats", *SMALL, "--html", str(page)]) == 0
    assert f"Page: {page}" in capsys.readouterr().out.replace("\n", "")
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["stats", "data=arithmetik"], "Did you mean arithmetic?"),
        (["show", "--count", "0"], "--count must be 1 or more"),
        (["show", "--html", "no/such/folder/page.html"], "there is no folder no/such/folder"),
    ],
)
def test_a_mistake_is_told(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *words]) == 2
    assert told in capsys.readouterr().err
