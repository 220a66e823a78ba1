"""Every family's traces are worked again here, from the text alone."""

import re
import subprocess
import sys
from itertools import islice

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Example
from reasoning_lab.data.sources.gsm_symbolic import GsmSymbolic
from reasoning_lab.data.sources.letter_count import LetterCount
from reasoning_lab.data.sources.number_story import NumberStory
from reasoning_lab.data.sources.product import Product
from reasoning_lab.data.sources.reasoning_gym import ReasoningGym
from reasoning_lab.data.sources.running_sum import RunningSum
from reasoning_lab.data.specs import Source

STEP = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)\.")
GENERATED = [
    RunningSum(),
    RunningSum(terms=6, digits=3),
    NumberStory(),
    NumberStory(changes=5, largest=99),
    Product(),
    Product(digits=4),
    LetterCount(),
    LetterCount(length=12),
    GsmSymbolic(),
]


def some(source: Source, count: int = 300, seed: int = 0) -> list[Example]:
    return list(islice(source.examples(name="here", seed=seed), count))


def steps_of(example: Example) -> list[tuple[int, str, int, int]]:
    """The steps of a trace that holds nothing else, checked one by one."""
    assert example.reasoning is not None
    steps = [(int(a), sign, int(b), int(c)) for a, sign, b, c in STEP.findall(example.reasoning)]
    assert " ".join(f"{a} {sign} {b} = {c}." for a, sign, b, c in steps) == example.reasoning
    for a, sign, b, c in steps:
        assert {"+": a + b, "-": a - b, "*": a * b}[sign] == c
    return steps


def numbers_in(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


@pytest.mark.parametrize("source", GENERATED, ids=repr)
def test_a_stream_depends_on_name_and_seed_alone(source: Source) -> None:
    examples = some(source, 20)

    assert examples == some(source, 20)
    assert examples != some(source, 20, seed=1)
    other_name = [example.question for example in islice(source.examples(name="b", seed=0), 20)]
    assert other_name != [example.question for example in examples]


@pytest.mark.parametrize("source", GENERATED, ids=repr)
def test_examples_are_complete_and_one_problem_has_one_id(source: Source) -> None:
    answers = {}
    for example in some(source):
        assert example.question
        assert example.reasoning
        assert example.answer
        assert (example.source, example.domain) == ("here", source.domain)
        assert "{" not in example.question
        assert answers.setdefault(example.id, example.answer) == example.answer


@pytest.mark.parametrize("source", GENERATED, ids=repr)
def test_questions_are_worded_in_several_ways(source: Source) -> None:
    openings = {" ".join(re.sub(r"\d+", "N", e.question).split()[:2]) for e in some(source)}

    assert len(openings) >= 3


@pytest.mark.parametrize("source", [RunningSum(), RunningSum(terms=6, digits=3)], ids=repr)
def test_running_sums_add_up(source: RunningSum) -> None:
    for example in some(source):
        terms, steps = numbers_in(example.question), steps_of(example)
        assert len(terms) == source.terms
        assert max(terms) < 10**source.digits
        assert [steps[0][0], *(step[2] for step in steps)] == terms
        assert [step[0] for step in steps[1:]] == [step[3] for step in steps[:-1]]
        assert example.answer == str(steps[-1][3]) == str(sum(terms))


@pytest.mark.parametrize("source", [NumberStory(), NumberStory(changes=5, largest=99)], ids=repr)
def test_stories_count_what_the_sentences_say(source: NumberStory) -> None:
    shrinks = re.compile("loses|gives|sells|out|Remove|off")
    signs = set()
    for example in some(source):
        sentences = re.findall(r"[^.?]*\d[^.?]*", example.question)
        steps = steps_of(example)
        assert len(sentences) == source.changes + 1
        total = numbers_in(sentences[0])[0]
        for sentence, (before, sign, change, after) in zip(sentences[1:], steps, strict=True):
            assert before == total
            assert numbers_in(sentence) == [change]
            assert (sign == "-") == bool(shrinks.search(sentence))
            assert after >= 0
            signs.add(sign)
            total = after
        assert example.answer == str(total)
        assert max(numbers_in(example.question)) <= source.largest
    assert signs == {"+", "-"}


@pytest.mark.parametrize("source", [Product(), Product(digits=4)], ids=repr)
def test_products_are_split_by_place(source: Product) -> None:
    for example in some(source):
        factor, number = numbers_in(example.question)
        steps = steps_of(example)
        products = [step for step in steps if step[1] == "*"]
        assert {step[0] for step in products} == {factor}
        assert sum(step[2] for step in products) == number
        assert len(steps) == 2 * len(products) - 1
        assert example.answer == str(steps[-1][3]) == str(factor * number)


@pytest.mark.parametrize("source", [LetterCount(), LetterCount(length=12)], ids=repr)
def test_letters_are_counted_one_by_one(source: LetterCount) -> None:
    asked = re.compile(r"(?:does|letter|is) ([a-z])\b.* in ([a-z](?: [a-z])+)[.?]$")
    for example in some(source):
        match = asked.search(example.question)
        assert match is not None
        letter, row = match[1], match[2].split()
        assert len(row) == source.length
        count = 0
        assert example.reasoning is not None
        for seen, step in zip(row, example.reasoning.removesuffix(".").split(", "), strict=True):
            count += seen == letter
            assert step == f"{seen} {count}"
        assert example.answer == str(count)


def test_word_problems_calculate_right_and_end_in_the_answer() -> None:
    equation = re.compile(r"(?<=[a-wyz,:] )(\d+) ?([-+*/]) ?(\d+) ?= ?(\d+)(?![\d.])")
    checked = 0
    for example in some(GsmSymbolic(max_chars=400), 500):
        assert example.reasoning is not None
        assert len(example.question) + len(example.reasoning) <= 400
        assert "Give the result" not in example.question
        assert "####" not in example.reasoning
        assert re.fullmatch(r"\d+", example.answer)
        assert example.answer in re.findall(r"\d+", example.reasoning.splitlines()[-1])
        bare = re.sub(r"[$€£]", "", example.reasoning)
        for a, sign, b, c in equation.findall(bare):
            left, right, result = int(a), int(b), int(c)
            assert (
                result * right == left
                if sign == "/"
                else {"+": left + right, "-": left - right, "*": left * right}[sign] == result
            )
            checked += 1
    assert checked > 300


def test_word_problems_of_neighbouring_seeds_differ() -> None:
    # reasoning-gym itself gives seed 1 at place 1 what seed 2 has at place 0.
    questions = [
        {example.question for example in some(GsmSymbolic(), 200, seed)} for seed in (1, 2)
    ]

    assert len(questions[0] & questions[1]) < 5


def test_any_reasoning_gym_task_gives_questions_without_traces() -> None:
    source = ReasoningGym(task="leg_counting", params={"max_animals": 3}, domain="legs")
    examples = some(source, 20)

    assert examples == some(source, 20)
    assert {example.reasoning for example in examples} == {None}
    assert {example.domain for example in examples} == {"legs"}
    assert all(example.answer.isdigit() for example in examples)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ReasoningGym(task="leg_countin"), "no such task. Near it: leg_counting"),
        (ReasoningGym(task="leg_counting", params={"animals": 3}), "unexpected keyword"),
        (ReasoningGym(task="leg_counting", params={"max_animals": 0}), "max_animals"),
        (ReasoningGym(task="graph_color"), "no one right answer"),
    ],
)
def test_a_task_that_cannot_be_used_is_explained(source: ReasoningGym, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        some(source, 1)


def test_specs_import_and_construct_without_heavy_libraries() -> None:
    program = (
        "import sys\n"
        "from reasoning_lab.data.sources import gsm_symbolic, reasoning_gym, table\n"
        "import reasoning_lab.data.mixture, reasoning_lab.evaluation.metrics\n"
        "from reasoning_lab.data.choices import SOURCES\n"
        "SOURCES['glaive'](); SOURCES['mbpp'](); SOURCES['multiple_choice']()\n"
        "gsm_symbolic.GsmSymbolic(); table.Table(path='x'); reasoning_gym.ReasoningGym(task='x')\n"
        "heavy = {'reasoning_gym', 'datasets', 'huggingface_hub', 'pyarrow', 'jax', 'pandas'}\n"
        "heavy &= set(sys.modules)\n"
        "print(*heavy, end='')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("", "")
