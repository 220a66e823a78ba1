"""What a reward is tried on: a problem, honest answers to it, and a wrong one."""

from dataclasses import dataclass

from reasoning_lab.data.example import Example


@dataclass(frozen=True)
class Answer:
    """What a model could write between the tags."""

    reasoning: str
    answer: str


@dataclass(frozen=True)
class Problem:
    """A problem with two honest answers that differ, and a wrong one as a guess would give it."""

    example: Example
    honest: tuple[Answer, Answer]
    wrong: str
