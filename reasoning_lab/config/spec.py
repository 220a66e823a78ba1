"""What every room needs to describe itself: the `spec` decorator and the error for a mistake."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast, dataclass_transform

import pydantic.dataclasses
from pydantic import ConfigDict, Field

T = TypeVar("T")


class ConfigError(Exception):
    """A mistake in what the user asked for; the message names file, key, value and remedy.

    `keys` are the dotted keys concerned, so that whoever composed the experiment can add where
    each of them was set.
    """

    def __init__(self, message: str, *, keys: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


class RunError(RuntimeError):
    """A run cannot go on; the message says why and what to do, so that no traceback is needed."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def spec(cls: type[T]) -> type[T]:
    """Make a class a frozen, keyword-only value that refuses unknown fields and wrong types.

    Constructing one does no I/O and touches no device. Give each field its bounds and one line of
    description: `rank: int = Field(default=16, ge=1, description="LoRA rank")`.
    """
    config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )
    make: Any = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=config)
    return cast(type[T], make(cls))
