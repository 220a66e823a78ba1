import itertools
import string
import time
from random import Random

import pytest

from reasoning_lab.answers import answers_match, is_number, names_option


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("42", "42"),
        (" 42.\n", "42"),
        ("42.0", "42"),
        ("042", "42"),
        ("+42", "42"),
        ("1,234,567", "1234567"),
        ("$1,234.50", "1234.5"),
        ("\\$18", "18"),
        ("$18$", "18"),
        ("\\(18\\)", "18"),
        ("\\boxed{18}", "18"),
        ("**18**", "18"),
        ("<answer>18</answer>", "18"),
        ("-€5", "-5"),
        ("$-5", "-5"),
        ("\u22125", "-5"),
        ("18 dollars", "$18"),
        ("18 km", "18"),
        ("18 Kilometers", "18 km"),
        ("1/2", "0.5"),
        ("\\frac{1}{2}", "0.5"),
        ("2\\frac{1}{2}", "2.5"),
        ("-2 \\frac{1}{2} km", "-2.5"),
        ("2/4", "1/2"),
        ("1 1/2", "1.5"),
        ("-1 1/2", "-1.5"),
        ("1e3", "1000"),
        ("70%", "0.7"),
        ("70 percent", "70 %"),
        (".5", "0.5"),
        ("0.1", "1/10"),
        ("Paris.", "paris"),
        ("( 1, 2 )", "(1,2)"),
        ("3 : 2", "3:2"),
        ("NaN", "nan"),
        ("9^9^9^9", "9^9^9^9"),
    ],
)
def test_same_answer(given: str, expected: str) -> None:
    assert answers_match(given, expected)
    assert answers_match(expected, given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ""),
        (" ", "0"),
        ("41", "42"),
        ("4 2", "42"),
        ("42 43", "42"),
        ("-42", "42"),
        ("--42", "42"),
        ("-$-42", "42"),
        ("3:2", "3"),
        ("3:2", "1.5"),
        ("70%", "70"),
        ("120k", "120"),
        ("5m", "5"),
        ("5M", "5"),
        ("2 million", "2"),
        ("3 dozen", "3"),
        ("50 cents", "50"),
        ("18 km", "18 miles"),
        ("18 km", "18 m"),
        ("$18", "€18"),
        ("$18 km", "18"),
        ("1,23", "123"),
        ("1,2345", "12345"),
        ("1,2", "12"),
        ("0.3333", "1/3"),
        ("2\\frac{1}{2}", "10.5"),
        ("\\frac{1}{2}3", "1/23"),
        ("1/0", "0"),
        ("0/0", "0"),
        ("2^3", "8"),
        ("9^9^9^9", "9"),
        ("1e999999999", "1"),
        ("NaN", "0"),
        ("inf", "1e999"),
        ("²", "2"),
        ("٣", "3"),
        ("= 42", "42"),
        ("42 apples", "42"),
        ("40 + 2", "42"),
        ("London", "Paris"),
    ],
)
def test_different_answer(given: str, expected: str) -> None:
    assert not answers_match(given, expected)
    assert not answers_match(expected, given)


@pytest.mark.parametrize(
    "hostile",
    [
        "9" * 10**6,
        "1e999999999",
        "1e" + "9" * 10**6,
        "9^9^9^9",
        "1/" * 10**5,
        "-" * 10**6,
        "1," * 10**6,
        " " * 10**6,
        "$" * 10**6,
        "\\frac{1}{" * 10**5,
        "(" * 10**6,
        "\ud800",
        "\x00",
    ],
)
def test_hostile_answers_are_wrong_and_fast(hostile: str) -> None:
    started = time.process_time()

    assert not answers_match(hostile, "7")
    assert not answers_match("7", hostile)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("answer", ["-1,234.5", "**$18**", "70%", "\\frac{1}{2}", "3 km"])
def test_a_number_is_seen(answer: str) -> None:
    assert is_number(answer)


@pytest.mark.parametrize("answer", ["", "Paris", "3:2", "120k", "2^3", "9 + 9", "x = 5"])
def test_what_is_not_surely_a_number_is_none(answer: str) -> None:
    assert not is_number(answer)


def test_a_long_text_is_still_itself() -> None:
    assert answers_match("9" * 10**6, "9" * 10**6)
    assert not answers_match("9" * 10**6, "9" * 10**6 + "0")


def test_no_short_string_raises() -> None:
    alphabet = "0.,/-+$%e \\{}*€:" + "k"
    for length in range(4):
        for letters in itertools.product(alphabet, repeat=length):
            answers_match("".join(letters), "1")
    random = Random(0)
    for _ in range(20_000):
        text = "".join(random.choices(string.printable + alphabet * 3, k=random.randint(4, 40)))
        answers_match(text, "1")


OPTIONS = ("the Sun", "the Moon", "Mars", "Venus: hot")


@pytest.mark.parametrize(
    "given",
    [
        *("B", "b.", "B:", "(B)", "B)", "**B**", "\\boxed{B}", "Option B", "option (b)."),
        *("B: the Moon", "b)  The Moon.", "(B) the moon!", "B. the Moon", "Option B: the Moon"),
        *("the Moon", " THE  moon. "),
    ],
)
def test_the_right_option_is_named(given: str) -> None:
    assert names_option(given, OPTIONS, "B: the Moon")


@pytest.mark.parametrize(
    "given",
    [
        *("", " ", "A", "E", "BB", "-B", "not B", "²", "Ⓑ", "1"),
        *("A or B", "B or A", "B, A", "A, B, C, D", "B B", "B/C", "the Moon or the Sun"),
        *("B: the Sun", "A: the Moon", "B: the Moon, A: the Sun", "B: the", "Option the Moon"),
        *("the Sun", "Moon", "the Moon is made of cheese", "The answer is B", "B the Moon"),
    ],
)
def test_anything_else_names_no_option_or_another(given: str) -> None:
    assert not names_option(given, OPTIONS, "B: the Moon")


def test_options_that_look_like_letters_and_answers() -> None:
    assert names_option("Venus: hot", OPTIONS, "D: Venus: hot")
    assert names_option("D: Venus: hot", OPTIONS, "D: Venus: hot")
    letters = ("B", "A")  # a letter is a letter first
    assert names_option("A", letters, "A: B")
    assert not names_option("B", letters, "A: B")
    assert names_option("A: B", letters, "A: B")
    assert not names_option("yes", ("yes", "Yes."), "A: yes")  # which of the two?
    assert names_option("A", ("yes", "Yes."), "A: yes")
    assert names_option("A: ?", ("?", "!"), "A: ?")
    assert not names_option("!", ("?", "!"), "A: ?")


@pytest.mark.parametrize(
    "answer", ["B", "", "B: the Sun", "E: the Moon", "the Moon", "BC: the Moon"]
)
def test_an_answer_that_is_no_option_is_told(answer: str) -> None:
    with pytest.raises(ValueError, match="none of the options"):
        names_option("B", OPTIONS, answer)


def test_no_short_string_raises_as_an_option() -> None:
    alphabet = "aB: ().,$*\\{}-"
    for length in range(4):
        for letters in itertools.product(alphabet, repeat=length):
            names_option("".join(letters), OPTIONS, "B: the Moon")
    started = time.process_time()
    for hostile in ("B" * 10**6, "(" * 10**6, "option " * 10**5, "B: " * 10**5, " " * 10**6):
        assert not names_option(hostile, OPTIONS, "B: the Moon")
    assert time.process_time() - started < 2
