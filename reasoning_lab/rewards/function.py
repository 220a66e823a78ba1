"""A reward of your own: a Python function named by its dotted path."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import Field

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.config.build import import_allowed
from reasoning_lab.config.mistakes import nearest
from reasoning_lab.rewards.specs import Attempt, Reward


@spec
class Function(Reward):
    """Whatever fn(attempts) returns: one number for each `Attempt`, in order.

    Range and blind spots are those of your function. It runs in this process with all its rights,
    so its package must be allowed by the environment variable REASONING_LAB_ALLOW_TARGETS.
    """

    path: str = Field(
        description="your function of a list of attempts, as my_package.my_rewards.brevity"
    )

    def __post_init__(self) -> None:
        if not all(part.isidentifier() for part in self.path.split(".")) or "." not in self.path:
            raise ValueError(
                f"path={self.path} must name a function and the module that it is in, as "
                "my_package.my_rewards.brevity"
            )

    def prepare(self, name: str) -> None:
        """Import the function."""
        self._function(f"reward.{name}.path")

    def score(self, attempts: Sequence[Attempt]) -> Any:
        """What the function returns, as it is: `scoring.score_attempts` checks it."""
        return self._function("path")(list(attempts))

    def _function(self, key: str) -> Callable[[list[Attempt]], Any]:
        try:
            module, name = import_allowed(self.path, "functions")
            functions = {key: item for key, item in vars(module).items() if inspect.isroutine(item)}
            if name not in functions:
                raise ConfigError(f"is not a function.{nearest(name, functions)}")
        except Exception as error:  # not allowed, not there, or the module itself fails
            told = error if isinstance(error, ConfigError) else f"cannot be imported: {error!r}."
            raise ConfigError(f"{key}={self.path}: {told}", keys=[key]) from error
        function: Callable[[list[Attempt]], Any] = functions[name]
        return function
