"""Programs that pass their tests, with an explanation before them."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.formats import parse
from reasoning_lab.rewards.sandbox.judge import SECONDS, Verdict, judge, program_of
from reasoning_lab.rewards.sandbox.run import working_bwrap
from reasoning_lab.rewards.specs import Attempt, Reward


@spec
class Code(Reward):
    """tests_weight * tests + explanation_weight * explanation: 0 to the sum of the two.

    tests: 1 if the program in the answer part passes all tests of its problem, else 0; with
    partial_credit the share that it passes. It runs in a sandbox (rewards/sandbox), and what its
    functions return is compared outside of it. A truncated completion passes nothing.
    explanation: 1 if the reasoning is longer than min_chars and shorter than max_chars, and not
    more than half of it are lines of the program; else 0.

    It cannot see whether a program does more than look up the tests that its problem shows, how
    fast or tidy it is within its time, or whether the explanation is of this program.
    """

    made_for: ClassVar[tuple[str, ...] | None] = ("code",)
    blind_to: ClassVar[frozenset[str]] = frozenset({"nested tags", "padded reasoning"})

    tests_weight: float = Field(default=0.8, ge=0, le=1, description="score of passing the tests")
    explanation_weight: float = Field(
        default=0.2, ge=0, le=1, description="score of an explanation within the two lengths"
    )
    partial_credit: bool = Field(
        default=False, description="score the share of tests passed, not all or nothing"
    )
    min_chars: int = Field(default=20, ge=0, description="an explanation must be longer than this")
    max_chars: int = Field(
        default=1200, ge=1, description="an explanation must be shorter than this"
    )
    seconds_per_program: float = Field(
        default=SECONDS, gt=0, le=600, description="wall-clock seconds for all tests of a program"
    )

    def __post_init__(self) -> None:
        if self.min_chars + 1 >= self.max_chars:
            raise ValueError(
                f"nothing is longer than min_chars={self.min_chars} and shorter than "
                f"max_chars={self.max_chars}: leave room between them"
            )
        if self.tests_weight == self.explanation_weight == 0:
            raise ValueError("tests_weight and explanation_weight must not both be 0")

    def prepare(self, name: str) -> None:
        """Run a program in the sandbox."""
        try:
            working_bwrap()
        except ConfigError as error:
            raise ConfigError(f"reward.{name}: {error}", keys=[f"reward.{name}"]) from error

    def score(self, attempts: Sequence[Attempt]) -> list[float]:
        verdicts = judge(attempts, seconds_per_program=self.seconds_per_program)
        return [self._score(*pair) for pair in zip(attempts, verdicts, strict=True)]

    def _score(self, attempt: Attempt, verdict: Verdict) -> float:
        share = verdict.passed / verdict.tests
        passed = share if self.partial_credit else float(verdict.outcome == "passed")
        reasoning = parse(attempt.completion).reasoning or ""
        explained = self.min_chars < len(reasoning) < self.max_chars and not _is_copy(
            reasoning, program_of(attempt) or ""
        )
        return self.tests_weight * passed + self.explanation_weight * explained


def _is_copy(reasoning: str, program: str) -> bool:
    """Whether more than half of a reasoning's characters stand in lines of the program."""
    of_program = {line.strip() for line in program.splitlines()}
    lines = [line.strip() for line in reasoning.splitlines()]
    copied = sum(len(line) for line in lines if line in of_program)
    return copied > sum(map(len, lines)) / 2
