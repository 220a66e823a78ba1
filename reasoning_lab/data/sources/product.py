"""Products, worked by splitting one factor into hundreds, tens and ones."""

from collections.abc import Iterator
from random import Random

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.data.example import Example
from reasoning_lab.data.sources.running_sum import running_total
from reasoning_lab.data.specs import Domain, Source

_QUESTIONS = ("What is {product}?", "Multiply {factor} by {number}.", "Work out {product}.")


@spec
class Product(Source):
    """What is 7 * 23? -> 7 * 20 = 140. 7 * 3 = 21. 140 + 21 = 161."""

    domain: Domain = "multiplication"
    digits: int = Field(default=2, ge=2, le=4, description="digits of the factor that is split")

    def examples(self, *, name: str, seed: int) -> Iterator[Example]:
        random = Random(f"{name}/{seed}")
        while True:
            factor = random.randint(2, 9)
            number = random.randrange(10 ** (self.digits - 1), 10**self.digits)
            product = f"{factor} * {number}"
            question = random.choice(_QUESTIONS)
            yield Example(
                id=f"{name}: {product}",
                source=name,
                domain=self.domain,
                question=question.format(product=product, factor=factor, number=number),
                reasoning=by_place(factor, number),
                answer=str(factor * number),
                licence="Apache-2.0",
            )


def by_place(factor: int, number: int) -> str:
    """factor * number by the places of `number`, and their running total."""
    digits = str(number)
    places = [
        int(digit) * 10 ** (len(digits) - position)
        for position, digit in enumerate(digits, start=1)
        if digit != "0"
    ] or [0]
    steps = [f"{factor} * {part} = {factor * part}." for part in places]
    total = running_total([factor * part for part in places])
    return " ".join([*steps, total]).rstrip()
