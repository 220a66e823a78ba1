"""Any of the procedural tasks of reasoning-gym, by name."""

import difflib
from collections.abc import Iterator
from random import Random
from typing import Any

from pydantic import Field

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.data.example import Example
from reasoning_lab.data.specs import Domain, Source
from reasoning_lab.data.traces import trace

# The end of the stream. Some tasks lay out all their items first: 10,000 keep that to seconds.
_SIZE = 10_000


@spec
class ReasoningGym(Source):
    """Questions and answers; with worked traces where data/traces.py can write them.

    Other tasks have none: they are for evaluation and reinforcement learning, not for SFT.

    A few tasks (graph_color, rush_hour, …) accept many answers, which only their own scorer can
    judge; they are refused.
    """

    domain: Domain = "reasoning_gym"
    task: str = Field(min_length=1, description="reasoning-gym task, such as leg_counting")
    params: dict[str, Any] = Field(
        default_factory=dict, description="the task's own settings, such as {max_animals: 3}"
    )

    def examples(self, *, name: str, seed: int) -> Iterator[Example]:
        # reasoning-gym adds the index to the seed: neighbouring seeds would share problems.
        start = Random(f"{name}/{seed}").getrandbits(32)
        problems = self._open(name, start)
        for index in range(_SIZE):
            problem = problems[index]
            if problem["answer"] is None:
                raise ConfigError(
                    f"data.sources.{name}.task={self.task}: this task has no one right answer.",
                    keys=[f"data.sources.{name}.task"],
                )
            yield Example(
                id=f"{name}: {start}+{index}",
                source=name,
                domain=self.domain,
                question=problem["question"],
                reasoning=trace(self.task, problem),
                answer=str(problem["answer"]),
                licence="Apache-2.0",
            )

    def _open(self, name: str, seed: int) -> Any:
        from reasoning_gym import create_dataset
        from reasoning_gym.factory import DATASETS

        key = f"data.sources.{name}"
        if self.task not in DATASETS:
            close = difflib.get_close_matches(self.task, DATASETS, n=3, cutoff=0.3)
            raise ConfigError(
                f"{key}.task={self.task}: reasoning-gym has no such task. "
                f"Near it: {', '.join(close or sorted(DATASETS)[:3])}.",
                keys=[f"{key}.task"],
            )
        try:
            return create_dataset(self.task, **self.params, seed=seed, size=_SIZE)
        except (AssertionError, TypeError, ValueError) as error:  # how its configs refuse a value
            raise ConfigError(
                f"{key}.params={self.params}: {self.task} refuses this: {error}",
                keys=[f"{key}.params"],
            ) from error
