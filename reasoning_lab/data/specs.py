"""What to train and evaluate on: named sources of problems."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.data.example import Dropped, Example

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
    def examples(self, *, name: str, seed: int) -> Iterator[Example | Dropped]:
        """Problems in an order that depends only on this spec, `name` and `seed`.

        The stream may end or go on for ever, and may repeat itself. Rows that give no problem are
        in it too, each with its reason. `name` is the source's key under `data.sources`.

        Raises:
            ConfigError: there is nothing to read, or it is not what this kind of source reads.
        """

    def held_out_examples(self, *, name: str, seed: int) -> Iterator[Example | Dropped] | None:
        """Problems to hold out, where they stand apart; None: the first of `examples`.

        They are found as `examples` are, and none of them is among those.
        """
        return None


@spec
class FiltersSpec:
    """Which training examples are left out, besides those that are too long or have no reasoning.

    The order is that in which they are asked; see data/filters.py.
    """

    most_repetition: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of 8-word runs that may repeat an earlier one: endless loops; 1: any",
    )
    language: str | None = Field(
        default=None,
        pattern="^[a-z]{2}$",
        description="language that the text must be in, as en (ISO 639-1); null: any",
    )
    near_duplicates: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="likeness (Jaccard) from which two questions are the same; null: if they equal",
    )


@spec
class DataSpec:
    """The sources that are mixed, each under a name of your choice."""

    sources: dict[str, Source] = Field(min_length=1, description="sources of problems, by name")
    filters: FiltersSpec = Field(
        default_factory=FiltersSpec, description="which training examples are left out"
    )
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="share of each domain, in proportion; {}: as many problems as it has",
    )
    temperature: float = Field(
        default=1.0, gt=0, description="shares are raised to 1 / this: above 1 evens them out"
    )
    adaptive: bool = Field(
        default=False, description="stage=grpo: draw domains more often while they teach something"
    )
    floor: float = Field(
        default=0.05, ge=0, lt=1, description="least share of a domain in the adaptive mode"
    )
    allow_shrink: float = Field(
        default=0.2, ge=0, le=1, description="share of a source's rows that filters must leave"
    )
    allow_epochs: float = Field(
        default=8.0, gt=0, description="how often the training may go over the same examples"
    )

    @property
    def is_mixed(self) -> bool:
        """Whether domains are drawn by shares of their own, not as the problems come."""
        return bool(self.weights) or self.temperature != 1 or self.adaptive
