"""Whether completions are right, by the kind of their problem; no score, and nothing else."""

from collections.abc import Iterable, Sequence

from reasoning_lab.answers import answers_match, names_option
from reasoning_lab.data.example import Example
from reasoning_lab.formats import parse
from reasoning_lab.rewards.sandbox.judge import SECONDS, check_tests, judge
from reasoning_lab.rewards.specs import Attempt


def prepare(problems: Iterable[Example]) -> None:
    """Find out before training whether completions of the problems can be called right or wrong.

    Raises:
        ConfigError: there will be programs to run, and no working sandbox or tests that cannot be
            used.
    """
    check_tests(problem for problem in problems if problem.kind == "code")


def is_right(
    attempts: Sequence[Attempt], *, seconds_per_program: float = SECONDS
) -> list[bool | None]:
    """Whether each attempt is right, in order; None if nothing can say so, for open problems.

    Right is one answer part, in a completion that is not truncated, which says the same as the
    expected answer (exact), names the right option (choice), or is a program that passes all tests
    within `seconds_per_program` (code). Programs run in parallel, in a sandbox.

    Raises:
        ConfigError: there are programs to run, and no working sandbox or tests that cannot be used.
        ValueError: the answer of a multiple-choice problem is none of its options.
    """
    places = [place for place, one in enumerate(attempts) if one.example.kind == "code"]
    verdicts = judge([attempts[i] for i in places], seconds_per_program=seconds_per_program)
    passed = {i: one.outcome == "passed" for i, one in zip(places, verdicts, strict=True)}
    return [
        passed[place] if place in passed else _answers(attempt)
        for place, attempt in enumerate(attempts)
    ]


def _answers(attempt: Attempt) -> bool | None:
    example = attempt.example
    if example.kind == "open":
        return None
    answer = parse(attempt.completion).answer
    if answer is None or attempt.truncated:
        return False
    if example.kind == "choice":
        return names_option(answer, example.options, example.answer)
    return answers_match(answer, example.answer)
