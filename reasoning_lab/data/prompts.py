"""Problems for reinforcement learning: the batch of a step is a pure function of (seed, step)."""

from collections.abc import Sequence

import numpy as np

from reasoning_lab.data.example import Example


class ProblemBatches:
    """An endless stream of batches, in a new order every epoch.

    Step i takes the i-th `batch_size` problems of the stream; an epoch ends where it ends, in the
    middle of a batch if need be.
    """

    def __init__(self, problems: Sequence[Example], *, batch_size: int, seed: int) -> None:
        """Raises ValueError if there are no problems."""
        if not problems:
            raise ValueError("there are no problems to put into batches")
        self._problems = tuple(problems)
        self._batch_size = batch_size
        self._seed = seed

    def batch(self, step: int) -> list[Example]:
        """The problems of one step, counted from 0."""
        return self._take("order", step * self._batch_size)

    def spare(self, step: int, attempt: int) -> list[Example]:
        """Other problems for a step, in place of groups that taught nothing; attempts from 0."""
        return self._take(f"spare/{step}", attempt * self._batch_size)

    def _take(self, stream: str, start: int) -> list[Example]:
        size = len(self._problems)
        numbers = range(start, start + self._batch_size)
        shuffled = {epoch: self._order(stream, epoch) for epoch in {n // size for n in numbers}}
        return [self._problems[shuffled[n // size][n % size]] for n in numbers]

    def _order(self, stream: str, epoch: int) -> list[int]:
        seed = [self._seed, epoch, *stream.encode()]
        order: list[int] = np.random.default_rng(seed).permutation(len(self._problems)).tolist()
        return order
