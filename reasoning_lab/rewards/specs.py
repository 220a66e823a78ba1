"""What completions are rewarded for: named parts, each with a weight."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.data.example import Example


@dataclass(frozen=True)
class Attempt:
    """One completion of one problem.

    `completion` comes without its end marker; `truncated` says that it ran out of tokens.
    """

    example: Example
    completion: str
    truncated: bool


@spec
class Reward(ABC):
    """A score of completions. Each kind of reward is one file in rewards/.

    The reward of a completion is the sum of the scores of the parts that are for its domain, each
    times the part's weight.

    made_for: the domains that rewards/lint tries the part on where `domains` is null; None: all.
    sees: the only cheats of rewards/lint that the part can see, by its own docstring; None: all.
    blind_to: cheats that it cannot see, of those.
    """

    made_for: ClassVar[tuple[str, ...] | None] = None
    sees: ClassVar[frozenset[str] | None] = None
    blind_to: ClassVar[frozenset[str]] = frozenset()

    weight: float = Field(default=1.0, gt=0, description="factor of this part in the sum")
    domains: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="domains that this part is for; null: all of them"
    )

    def is_for(self, domain: str) -> bool:
        """Whether completions of a domain's problems are scored by this part."""
        return self.domains is None or domain in self.domains

    @classmethod
    def may_see(cls, cheat: str) -> bool:
        """Whether the part claims to tell a cheat of rewards/lint from an honest answer."""
        return cheat not in cls.blind_to and (cls.sees is None or cheat in cls.sees)

    def prepare(self, name: str) -> None:  # noqa: B027 - most rewards have nothing to prepare
        """Find out before training what making the spec could not, such as a failing import.

        `name` is the reward's key under `reward`.

        Raises:
            ConfigError: the reward cannot be used.
        """

    @abstractmethod
    def score(self, attempts: Sequence[Attempt]) -> Sequence[float]:
        """One finite number for each attempt, in order; the same for the same attempt."""
