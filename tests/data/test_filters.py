"""What is left out of training, and how the funnel tells it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.filters import Length, NearDuplicates, language, repetition, why_not
from reasoning_lab.data.mixture import build_mixture, in_words
from reasoning_lab.data.specs import DataSpec, Domain, FiltersSpec, Source

GOOD = Example(
    "1", "s", "d", "Why is the sky blue?", "Air scatters blue light most.", "Scattering", ""
)
GERMAN = (
    "Der Himmel ist blau, weil die Luft das blaue Licht stärker streut als das rote, und "
    "deshalb kommt es aus allen Richtungen zu uns, wenn wir am Tag nach oben sehen."
)
WORDS = "the quick brown fox jumps over a lazy dog while seven wizards bake warm bread in Oslo"


def reason(example: Example, filters: FiltersSpec | None = None, **settings: object) -> str | None:
    settings = {"needs_reasoning": True, "length": None, **settings}
    return why_not(example, filters or FiltersSpec(), **settings)  # type: ignore[arg-type]


def test_a_good_example_stays() -> None:
    assert reason(GOOD) is None
    assert reason(GOOD, FiltersSpec(language="en", most_repetition=0.01)) is None


@pytest.mark.parametrize("tag", ["<think>", "</reasoning>", "<answer>", "</Thought>", "<Output>"])
def test_tags_in_the_text_are_broken_ones(tag: str) -> None:
    for place in ("question", "reasoning", "answer"):
        assert reason(replace(GOOD, **{place: f"a {tag} b"})) == "broken tags"
    assert reason(replace(GOOD, answer="x < answer > y")) is None


@pytest.mark.parametrize("nothing", [None, "", " \n"])
def test_reasoning_is_missed_only_where_it_is_taught(nothing: str | None) -> None:
    assert reason(replace(GOOD, reasoning=nothing)) == "no reasoning"
    assert reason(replace(GOOD, reasoning=nothing), needs_reasoning=False) is None


def test_endless_loops_are_told_from_text() -> None:
    assert repetition("Wait, let me think again about this. " * 40) > 0.8
    assert repetition(WORDS * 2) == 0  # too short to be called a loop
    numbered = " ".join(f"{n} + {n} = {2 * n}." for n in range(100))
    assert repetition(numbered) == 0
    loop = replace(GOOD, reasoning="Hmm, is it so? But then again it may not be. " * 20)
    assert reason(loop) == "endless loop"
    assert reason(loop, FiltersSpec(most_repetition=1.0)) is None


def test_languages_are_told_where_there_is_enough_text() -> None:
    assert language(GERMAN) == "de"
    assert language("Ja, das ist so.") is None
    assert language("1 + 1 = 2 " * 100) is None
    german = replace(GOOD, reasoning=GERMAN)
    assert reason(german, FiltersSpec(language="en")) == "not in en"
    assert reason(german, FiltersSpec(language="de")) is None
    assert reason(german) is None


def test_length_is_what_counts_it_says() -> None:
    length = Length(lambda example: len(example.answer), most=10, key="stage.x")
    assert reason(GOOD, length=length) is None
    assert reason(replace(GOOD, answer="11 letters!"), length=length) == "longer than stage.x=10"


def test_near_duplicates_differ_in_words_but_not_in_numbers() -> None:
    long = f"{WORDS} and then they count 12 stars before going home to sleep until morning"
    seen = NearDuplicates(0.7)
    seen.add(replace(GOOD, question=long))
    assert replace(GOOD, question=long.replace("warm", "hot")) in seen
    assert replace(GOOD, question=long.replace("12", "13")) not in seen
    assert replace(GOOD, question="Something else altogether, with 12 stars.") not in seen
    empty = NearDuplicates(0.7)
    empty.add(replace(GOOD, question=""))
    assert GOOD not in empty


@spec
class Rows(Source):
    """Rows of a file, as a test writes them."""

    endless = False
    domain: Domain = "d"
    rows: int | None = None
    texts: tuple[str | None, ...]

    def examples(self, *, name: str, seed: int) -> Iterator[Example | Dropped]:
        for number, text in enumerate(self.texts):
            if text is None:
                yield Dropped(f"{name} {number}", "broken tags", "<think> without an end")
            else:
                yield replace(GOOD, id=f"{name} {number}", source=name, question=text)


def data(*texts: str | None, **settings: object) -> DataSpec:
    return DataSpec(sources={"mine": Rows(texts=texts)}, **settings)  # type: ignore[arg-type]


def test_rows_that_give_no_problem_are_in_the_funnel() -> None:
    mixture = build_mixture(data("one", None, "two", None, "one"), held_out=1, seed=0)
    (row,) = mixture.funnel
    said = "Of 5 read: 1 held out, 2 broken tags, 1 repeats a held-out one, 1 kept"
    assert in_words(row) == said
    assert row.examples["broken tags"] == ("<think> without an end",) * 2
    assert row.survivors == 0.25


def test_filters_that_leave_nearly_nothing_are_an_error_unless_it_is_accepted() -> None:
    texts = ["one", "two", *[None] * 9]
    with pytest.raises(ConfigError) as error:
        build_mixture(data(*texts), held_out=1, seed=0)
    told = str(error.value)
    assert "data.sources.mine: the filters leave 10.0% of its rows" in told
    assert "9 broken tags" in told
    assert "accept it: data.allow_shrink=0.1" in told
    mixture = build_mixture(data(*texts, allow_shrink=0.1), held_out=1, seed=0)
    assert [example.question for example in mixture.train] == ["two"]


def test_no_rows_left_is_an_error_that_says_why() -> None:
    with pytest.raises(ConfigError, match=r"too few problems: some training ones .* 2 broken tags"):
        build_mixture(data("one", None, None, allow_shrink=0.0), held_out=1, seed=0)


def test_near_duplicates_of_held_out_problems_are_not_taught() -> None:
    long = f"{WORDS} until 12 stars are out and everybody has gone to bed in the old house"
    near = long.replace("warm", "hot")
    other = "Tell me about something else, such as rivers in spring or towns in autumn."
    near_other = other.replace("autumn", "winter")
    mixed = data(long, near, other, near_other, filters=FiltersSpec(near_duplicates=0.6))
    (row,) = build_mixture(mixed, held_out=1, seed=0).funnel
    assert row.removed == {"nearly repeats a held-out one": 1, "nearly repeats another": 1}
