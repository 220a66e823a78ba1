"""Small functions to write, with tests as in MBPP."""

from reasoning_lab.data.example import Example
from reasoning_lab.rewards.lint.problem import Answer, Problem


def _problem(
    question: str, tests: tuple[str, ...], first: Answer, second: Answer, wrong: str
) -> Problem:
    asked = "\n".join([f"Write a Python function. {question} It has to pass:", *tests])
    example = Example(
        question, "lint", "code", asked, None, first.answer, "", kind="code", tests=tests
    )
    return Problem(example, (first, second), wrong)


PROBLEMS = (
    _problem(
        "count_vowels(text) returns how many vowels a text has, in either case.",
        (
            "assert count_vowels('Banana') == 3",
            "assert count_vowels('sky') == 0",
            "assert count_vowels('AUDIO') == 4",
        ),
        Answer(
            "I make the text lower case and count the letters that are among a, e, i, o and u. A "
            "sum over a generator gives the number of them.",
            "def count_vowels(text):\n    return sum(c in 'aeiou' for c in text.lower())",
        ),
        Answer(
            "I go through the text letter by letter. A letter is counted if it is one of the "
            "vowels, of which there are five small ones and five capital ones.",
            "def count_vowels(text):\n    count = 0\n    for letter in text:\n"
            "        if letter in 'aeiouAEIOU':\n            count += 1\n    return count",
        ),
        "def count_vowels(text):\n    return len(text)",
    ),
    _problem(
        "running_max(numbers) returns the largest number so far at each place of a list.",
        (
            "assert running_max([1, 3, 2, 5]) == [1, 3, 3, 5]",
            "assert running_max([]) == []",
            "assert running_max([4, 4, -1]) == [4, 4, 4]",
        ),
        Answer(
            "itertools.accumulate folds a list and keeps all results on the way. With max as the "
            "function these results are the largest numbers so far.",
            "from itertools import accumulate\n\ndef running_max(numbers):\n"
            "    return list(accumulate(numbers, max))",
        ),
        Answer(
            "I keep a list of results. Each new entry is the larger one of the number and the last "
            "entry; the first number has no entry before it, so it is taken as it is.",
            "def running_max(numbers):\n    result = []\n    for number in numbers:\n"
            "        result.append(max(number, result[-1]) if result else number)\n"
            "    return result",
        ),
        "def running_max(numbers):\n    return sorted(numbers)",
    ),
)
