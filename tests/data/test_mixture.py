from collections import Counter
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.data.example import Example
from reasoning_lab.data.mixture import build_held_out, build_mixture
from reasoning_lab.data.sources.gsm_symbolic import GsmSymbolic
from reasoning_lab.data.sources.letter_count import LetterCount
from reasoning_lab.data.sources.running_sum import RunningSum
from reasoning_lab.data.specs import DataSpec, Domain, Source


@spec
class Written(Source):
    """Examples as (id, question, reasoning), in the order written."""

    domain: Domain = "written"
    problems: tuple[tuple[str, str, str | None], ...]

    def examples(self, *, name: str, seed: int) -> Iterator[Example]:
        for key, question, reasoning in self.problems:
            yield Example(key, name, self.domain, question, reasoning, "1", "")


def mixed() -> DataSpec:
    return DataSpec(
        sources={
            "sums": RunningSum(rows=400),
            "letters": LetterCount(rows=100),
            "words": GsmSymbolic(rows=50),
        }
    )


def test_nothing_is_shared_between_training_and_held_out_problems() -> None:
    mixture = build_mixture(mixed(), held_out=64, seed=0)

    assert Counter(example.source for example in mixture.held_out) == dict.fromkeys(
        ("sums", "letters", "words"), 64
    )
    assert Counter(example.source for example in mixture.train) == {
        "sums": 400,
        "letters": 100,
        "words": 50,
    }
    everything = (*mixture.train, *mixture.held_out)
    assert len({example.question for example in everything}) == len(everything)
    assert len({example.id for example in everything}) == len(everything)


def test_the_funnel_accounts_for_every_problem_read() -> None:
    for row in build_mixture(mixed(), held_out=64, seed=0).funnel:
        dropped = row.duplicates + row.overlapping + row.no_reasoning
        assert row.read == row.held_out + row.kept + dropped
        if row.source == "sums":  # 464 of 729 sums: many come twice
            assert row.duplicates > 0
            assert row.overlapping > 0


def test_each_reason_to_drop_is_counted() -> None:
    source = Written(
        rows=2,
        problems=(
            ("1", "What is 1+1?", None),
            ("2", "what is 1 + 1 ?", "same words as 1"),
            ("1", "Add 1 and 1.", "same id as 1"),
            ("3", "Two?", None),
            ("4", "Three?", "a"),
            ("5", "THREE?", "same words as 4"),
            ("6", "Four?", "b"),
        ),
    )
    mixture = build_mixture(DataSpec(sources={"mine": source}), held_out=1, seed=0)

    assert [example.id for example in mixture.held_out] == ["1"]
    assert {example.id for example in mixture.train} == {"4", "6"}
    (row,) = mixture.funnel
    assert (row.read, row.duplicates, row.overlapping, row.no_reasoning) == (7, 1, 2, 1)


def test_a_source_never_teaches_what_another_holds_out() -> None:
    first = Written(rows=1, problems=(("a1", "One?", "x"), ("a2", "Two?", "x"), ("a3", "3?", "x")))
    second = Written(rows=1, problems=(("b1", "Two?", "x"), ("b2", "Four?", "x")))
    spec = DataSpec(sources={"first": first, "second": second})

    mixture = build_mixture(spec, held_out=1, seed=0)
    assert {example.id for example in mixture.held_out} == {"a1", "b1"}
    assert {example.id for example in mixture.train} == {"a3", "b2"}


def test_held_out_problems_do_not_depend_on_the_rows() -> None:
    few = DataSpec(sources={"sums": RunningSum(rows=10)})
    many = DataSpec(sources={"sums": RunningSum(rows=300)})
    held_out = build_mixture(few, held_out=32, seed=3).held_out

    assert held_out == build_mixture(many, held_out=32, seed=3).held_out
    assert held_out == build_held_out(many, held_out=32, seed=3)
    assert held_out != build_held_out(many, held_out=32, seed=4)


def test_a_mixture_depends_on_its_spec_and_seed_alone() -> None:
    mixture = build_mixture(mixed(), held_out=8, seed=0)

    assert mixture == build_mixture(mixed(), held_out=8, seed=0)
    assert mixture.fingerprint == build_mixture(mixed(), held_out=8, seed=0).fingerprint
    assert mixture.fingerprint != build_mixture(mixed(), held_out=8, seed=1).fingerprint
    assert {example.source for example in mixture.train[:30]} == {"sums", "letters", "words"}


def test_shots_come_from_the_source_and_from_training() -> None:
    mixture = build_mixture(mixed(), held_out=8, seed=0)
    shots = mixture.shots("words", 4)

    assert [example.source for example in shots] == ["words"] * 4
    assert set(shots) < set(mixture.train)


def test_an_endless_source_with_too_few_problems_is_explained() -> None:
    data = DataSpec(sources={"sums": RunningSum(terms=2, rows=100)})  # 81 distinct sums

    with pytest.raises(ConfigError, match=r"100 training ones .* 16 are held out, 65") as e:
        build_mixture(data, held_out=16, seed=0)
    assert e.value.keys == ("data.sources.sums.rows", "evaluation.problems")
    with pytest.raises(ConfigError, match="99 held-out ones are wanted"):
        build_held_out(data, held_out=99, seed=0)


def test_problems_without_reasoning_can_be_asked_but_not_taught() -> None:
    source = Written(rows=1, problems=tuple((str(n), f"Is it {n}?", None) for n in range(9)))
    data = DataSpec(sources={"mine": source})

    assert len(build_held_out(data, held_out=9, seed=0)) == 9
    with pytest.raises(ConfigError, match="7 have no reasoning to learn from"):
        build_mixture(data, held_out=2, seed=0)


def test_data_needs_a_source_that_is_one() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        DataSpec(sources={})
    with pytest.raises(ValidationError, match="Source"):
        DataSpec(sources={"sums": {"rows": 3}})  # type: ignore[dict-item]
