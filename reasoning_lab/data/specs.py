"""What to train and evaluate on: named sources of problems."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.data.example import Example

Domain = Annotated[
    str, Field(min_length=1, description="kind of problem, by which results are reported")
]


@spec
class Source(ABC):
    """A stream of problems. Each kind of source is one file in data/sources/."""

    endless: ClassVar[bool] = True
    """Whether `examples` goes on for ever, so that one must say how many to take."""

    domain: Domain
    rows: int | None = Field(
        default=1000, ge=1, description="training examples taken from this source; null: all"
    )

    def __post_init__(self) -> None:
        if self.rows is None and self.endless:
            raise ValueError("this source has no end: say how many rows to take")

    @abstractmethod
    def examples(self, *, name: str, seed: int) -> Iterator[Example]:
        """Problems in an order that depends only on this spec, `name` and `seed`.

        The stream may end or go on for ever, and may repeat itself. `name` is the source's key
        under `data.sources`.
        """

    def held_out_examples(self, *, name: str, seed: int) -> Iterator[Example] | None:
        """Problems to hold out, where they stand apart; None: the first of `examples`.

        They are found as `examples` are, and none of them is among those.
        """
        return None


@spec
class DataSpec:
    """The sources that are mixed, each under a name of your choice."""

    sources: dict[str, Source] = Field(min_length=1, description="sources of problems, by name")
