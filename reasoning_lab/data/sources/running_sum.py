"""Sums of several terms, worked as a running total."""

from collections.abc import Iterator
from random import Random

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.data.example import Example
from reasoning_lab.data.specs import Domain, Source

_QUESTIONS = (
    "What is {sum}?",
    "Add up {sum}.",
    "Find the total of {listed}.",
    "How much is {sum}?",
)


@spec
class RunningSum(Source):
    """What is 9 + 9 + 8? -> 9 + 9 = 18. 18 + 8 = 26."""

    domain: Domain = "addition"
    terms: int = Field(default=3, ge=2, le=10, description="numbers in one sum")
    digits: int = Field(default=1, ge=1, le=6, description="most digits of a number")

    def examples(self, *, name: str, seed: int) -> Iterator[Example]:
        random = Random(f"{name}/{seed}")
        while True:
            terms = [random.randrange(1, 10**self.digits) for _ in range(self.terms)]
            problem = " + ".join(map(str, terms))
            listed = ", ".join(map(str, terms[:-1])) + f" and {terms[-1]}"
            yield Example(
                id=f"{name}: {problem}",
                source=name,
                domain=self.domain,
                question=random.choice(_QUESTIONS).format(sum=problem, listed=listed),
                reasoning=running_total(terms),
                answer=str(sum(terms)),
                licence="Apache-2.0",
            )


def running_total(terms: list[int]) -> str:
    """The steps of a sum, one term after another; a negative term is taken away."""
    total, *rest = terms
    steps = []
    for term in rest:
        sign = "-" if term < 0 else "+"
        steps.append(f"{total} {sign} {abs(term)} = {total + term}.")
        total += term
    return " ".join(steps)
