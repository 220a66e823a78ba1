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
    apart: tuple[tuple[str, str, str | None], ...] | None = None

    def examples(self, *, name: str, seed: int) -> Iterator[Example]:
        for key, question, reasoning in self.problems:
            yield Example(key, name, self.domain, question, reasoning, "1", "")

    def held_out_examples(self, *, name: str, seed: int) -> Iterator[Example] | None:
        if self.apart is None:
            return None
        return Written(problems=self.apart).examples(name=name, seed=seed)


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
        assert row.read == row.held_out + row.kept + sum(row.removed.values())
        if row.source == "sums":  # 464 of 729 sums: many come twice
            assert row.removed["repeats another"] > 0
            assert row.removed["repeats a held-out one"] > 0
            assert len(row.examples["repeats another"]) == 3


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
    assert row.read == 7
    assert row.removed == {"repeats a held-out one": 2, "no reasoning": 1, "repeats another": 1}
    assert "same id as 1" in row.examples["repeats a held-out one"][1]


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

    with pytest.raises(ConfigError, match=r"100 training ones .* 16 held out, .* 65 kept") as e:
        build_mixture(data, held_out=16, seed=0)
    assert e.value.keys == ("data.sources.sums.rows", "evaluation.problems")
    with pytest.raises(ConfigError, match="99 held-out ones are wanted"):
        build_held_out(data, held_out=99, seed=0)


def test_problems_without_reasoning_can_be_asked_but_not_taught() -> None:
    source = Written(rows=1, problems=tuple((str(n), f"Is it {n}?", None) for n in range(9)))
    data = DataSpec(sources={"mine": source})

    assert len(build_held_out(data, held_out=9, seed=0)) == 9
    with pytest.raises(ConfigError, match="7 no reasoning"):
        build_mixture(data, held_out=2, seed=0)


def test_reinforcement_learning_can_do_without_reasoning() -> None:
    problems = (("0", "Is it 0?", None), ("1", "Is it 1?", None), ("2", "Is it 2?", "Yes."))
    data = DataSpec(sources={"mine": Written(rows=2, problems=problems)})

    mixture = build_mixture(data, held_out=1, seed=0, needs_reasoning=False)
    assert {example.id for example in mixture.train} == {"1", "2"}
    assert [example.id for example in mixture.shots("mine", 2)] == ["2"]  # can be shown


def test_what_was_trained_on_before_is_never_held_out_but_may_be_trained_on_again() -> None:
    problems = tuple((str(n), f"Is it {n}?", "Yes.") for n in range(8))
    data = DataSpec(sources={"mine": Written(rows=6, problems=problems)})
    before = build_mixture(data, held_out=2, seed=0).train[:3]
    again = build_mixture(data, held_out=2, seed=0, trained_on=before)
    assert again == build_mixture(data, held_out=2, seed=0)  # the held-out ones stay the same

    first = [
        Example("0", "other", "", "Zero?", None, "", ""),
        Example("x", "", "", "IS IT 1 ?", None, "", ""),
    ]
    later = build_mixture(data, held_out=2, seed=0, trained_on=first)
    assert [example.id for example in later.held_out] == ["2", "3"]
    assert {example.id for example in later.train} == set("014567")
    with pytest.raises(ConfigError, match="; 2 were trained on before"):
        build_mixture(data, held_out=7, seed=0, trained_on=first)


def test_a_source_can_hold_out_problems_that_stand_apart() -> None:
    source = Written(
        rows=2,
        problems=(("1", "One?", "x"), ("2", "Two?", "x"), ("3", "Three?", "x")),
        apart=(("a", "A?", None), ("b", "B?", None), ("c", "C?", None)),
    )
    other = Written(rows=1, problems=(("4", "Four?", "x"), ("5", "a ?", "x"), ("6", "Six?", "x")))
    data = DataSpec(sources={"mine": source, "other": other})

    mixture = build_mixture(data, held_out=1, seed=0)
    assert [example.id for example in mixture.held_out] == ["a", "4"]
    assert {example.id for example in mixture.train} == {"1", "2", "6"}
    seen = [Example("a", "", "", "A?", None, "", "")]
    held_out = build_held_out(data, held_out=2, seed=0, trained_on=seen)
    assert [example.id for example in held_out][:2] == ["b", "c"]
    with pytest.raises(ConfigError, match="4 held-out ones are wanted"):
        build_held_out(data, held_out=4, seed=0)


def test_data_needs_a_source_that_is_one() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        DataSpec(sources={})
    with pytest.raises(ValidationError, match="Source"):
        DataSpec(sources={"sums": {"rows": 3}})  # type: ignore[dict-item]
