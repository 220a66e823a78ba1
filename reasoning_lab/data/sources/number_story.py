"""Short stories in which a number of things grows and shrinks."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.data.example import Example
from reasoning_lab.data.sources.running_sum import running_total
from reasoning_lab.data.specs import Domain, Source


@dataclass(frozen=True)
class _Setting:
    """`start` and `end` frame the changes; {n} is a number, {who} and {things} are drawn."""

    start: str
    more: tuple[str, ...]
    less: tuple[str, ...]
    end: str


_SETTINGS = (
    _Setting(
        "{who} has {n} {things}.",
        ("{who} gets {n} more.", "{who} finds {n}.", "{who} buys {n}."),
        ("{who} loses {n}.", "{who} gives away {n}.", "{who} sells {n}."),
        "How many {things} does {who} have now?",
    ),
    _Setting(
        "A box holds {n} {things}.",
        ("Put in {n}.", "Add {n}."),
        ("Take out {n}.", "Remove {n}."),
        "How many {things} are in the box?",
    ),
    _Setting(
        "A bus carries {n} people.",
        ("At a stop {n} get on.",),
        ("At a stop {n} get off.",),
        "How many people are on the bus?",
    ),
)
_WHO = ("Ana", "Ben", "Kofi", "Lena", "Mia", "Omar", "Ravi", "Yuki")
_THINGS = ("apples", "balls", "books", "cards", "coins", "pens", "shells", "stamps")


@spec
class NumberStory(Source):
    """Mia has 7 pens. Mia finds 5. Mia loses 3. How many …? -> 7 + 5 = 12. 12 - 3 = 9."""

    domain: Domain = "story"
    changes: int = Field(default=2, ge=1, le=8, description="times the number changes")
    largest: int = Field(default=9, ge=2, le=999, description="largest number in the question")

    def examples(self, *, name: str, seed: int) -> Iterator[Example]:
        random = Random(f"{name}/{seed}")
        while True:
            numbers = self._numbers(random)
            yield Example(
                id=f"{name}: {' '.join(f'{number:+d}' for number in numbers)}",
                source=name,
                domain=self.domain,
                question=_tell(numbers, random),
                reasoning=running_total(numbers),
                answer=str(sum(numbers)),
                licence="Apache-2.0",
            )

    def _numbers(self, random: Random) -> list[int]:
        """The start, then the changes; the total never falls below nought."""
        numbers = [random.randint(2, self.largest)]
        for _ in range(self.changes):
            total = sum(numbers)
            shrinks = total > 0 and random.random() < 0.5
            most = min(total, self.largest) if shrinks else self.largest
            change = random.randint(min(2, most), most)
            numbers.append(-change if shrinks else change)
        return numbers


def _tell(numbers: list[int], random: Random) -> str:
    setting = random.choice(_SETTINGS)
    changes = [
        random.choice(setting.more if number > 0 else setting.less) for number in numbers[1:]
    ]
    sentences = [setting.start, *changes]
    told = [text.replace("{n}", str(abs(n))) for text, n in zip(sentences, numbers, strict=True)]
    return " ".join([*told, setting.end]).format(
        who=random.choice(_WHO), things=random.choice(_THINGS)
    )
