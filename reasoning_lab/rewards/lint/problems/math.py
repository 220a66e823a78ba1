"""Word problems with a number for an answer."""

from reasoning_lab.data.example import Example
from reasoning_lab.rewards.lint.problem import Answer, Problem


def _problem(question: str, answer: str, first: str, second: str, wrong: str) -> Problem:
    example = Example(question, "lint", "math", question, None, answer, "")
    return Problem(example, (Answer(first, answer), Answer(second, f"{answer}.")), wrong)


PROBLEMS = (
    _problem(
        "A baker fills 14 trays with 12 rolls each and sells 95 rolls. How many rolls are left?",
        "73",
        "14 trays of 12 rolls are 14 * 12 = 168 rolls. After selling 95 there are 168 - 95 = 73.",
        "10 trays hold 120 rolls and 4 more hold 48, so there were 168. 168 minus 95 leaves 73.",
        "83",
    ),
    _problem(
        "A train leaves at 9:40 and arrives at 12:05. For how many minutes does it travel?",
        "145",
        "From 9:40 to 12:00 it is 2 hours and 20 minutes, which is 140 minutes. 140 + 5 = 145.",
        "9:40 is 580 minutes after midnight and 12:05 is 725. The difference is 725 - 580 = 145.",
        "165",
    ),
    _problem(
        "Lena has 3 times as many marbles as Omar. Together they have 52. How many has Lena?",
        "39",
        "Omar has 1 part and Lena 3, so 4 parts are 52 and a part is 13. Lena has 3 * 13 = 39.",
        "Let Omar have x. Then x + 3x = 52, so 4x = 52 and x = 13. Lena has 52 - 13 = 39 marbles.",
        "13",
    ),
)
