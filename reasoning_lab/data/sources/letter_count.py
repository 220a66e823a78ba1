"""How often a letter stands in a row of letters, counted one by one."""

from collections.abc import Iterator
from random import Random

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.data.example import Example
from reasoning_lab.data.specs import Domain, Source

_QUESTIONS = (
    "How often does {letter} stand in {row}?",
    "Count the letter {letter} in {row}.",
    "How many times is {letter} in {row}?",
)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_DIFFERENT = 3  # letters in a row, so that the one asked for is seldom missing


@spec
class LetterCount(Source):
    """Count the letter e in b e e t. -> b 0, e 1, e 2, t 2."""

    domain: Domain = "counting"
    length: int = Field(default=6, ge=2, le=20, description="letters in a row")

    def examples(self, *, name: str, seed: int) -> Iterator[Example]:
        random = Random(f"{name}/{seed}")
        while True:
            alphabet = random.sample(_ALPHABET, _DIFFERENT)
            letters = random.choices(alphabet, k=self.length)
            letter = random.choice(alphabet)
            row = " ".join(letters)
            counts = [letters[:end].count(letter) for end in range(1, len(letters) + 1)]
            steps = [f"{seen} {count}" for seen, count in zip(letters, counts, strict=True)]
            yield Example(
                id=f"{name}: {letter} in {row}",
                source=name,
                domain=self.domain,
                question=random.choice(_QUESTIONS).format(letter=letter, row=row),
                reasoning=", ".join(steps) + ".",
                answer=str(counts[-1]),
                licence="Apache-2.0",
            )
