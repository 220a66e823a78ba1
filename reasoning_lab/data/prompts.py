"""Problems for reinforcement learning: the batch of a step is a pure function of (seed, step)."""

from collections.abc import Mapping, Sequence

import numpy as np

from reasoning_lab.data.example import Example
from reasoning_lab.data.shares import Shares

_ALL = ""  # the pool of all problems, where domains are not told apart


class ProblemBatches:
    """An endless stream of batches.

    Without shares, step i takes the i-th `batch_size` problems of a stream that is in a new order
    every epoch; an epoch ends where it ends, in the middle of a batch if need be. With shares,
    every domain has such a stream of its own, and the shares say how many problems of a step come
    from each. Adaptive shares depend on what was observed of the steps before.
    """

    def __init__(
        self,
        problems: Sequence[Example],
        *,
        batch_size: int,
        seed: int,
        shares: Shares | None = None,
    ) -> None:
        """Raises ValueError if there are no problems."""
        if not problems:
            raise ValueError("there are no problems to put into batches")
        self._pools: dict[str, list[Example]] = {}
        for problem in problems:
            self._pools.setdefault(problem.domain if shares else _ALL, []).append(problem)
        self._batch_size = batch_size
        self._seed = seed
        self._shares = shares
        self._taken = [dict.fromkeys(self._pools, 0)]  # by each pool before step i

    def batch(self, step: int) -> list[Example]:
        """The problems of one step, counted from 0."""
        while len(self._taken) <= step:
            before, counts = self._taken[-1], self._counts(len(self._taken) - 1, "order")
            self._taken.append({pool: before[pool] + counts[pool] for pool in self._pools})
        return self._take("order", self._counts(step, "order"), self._taken[step])

    def spare(self, step: int, attempt: int) -> list[Example]:
        """Other problems for a step, in place of groups that taught nothing; attempts from 0."""
        stream = f"spare/{step}"
        begin = dict.fromkeys(self._pools, attempt * self._batch_size)
        return self._take(stream, self._counts(step, f"{stream}/{attempt}"), begin)

    def shares(self, step: int) -> dict[str, float]:
        """Each domain's share of a step's problems; {} where none are set."""
        return {} if self._shares is None else self._shares.at(step)

    def observe(self, step: int, live: Mapping[str, float]) -> None:
        """What share of each domain's groups taught something in a step; steps come in order."""
        if self._shares is not None:
            self._shares.observe(step, live)

    def _counts(self, step: int, stream: str) -> dict[str, int]:
        """How many problems each pool gives to a step."""
        if self._shares is None:
            return {_ALL: self._batch_size}
        random = np.random.default_rng([self._seed, step, *b"mix", *stream.encode()])
        return self._shares.counts(step, self._batch_size, random)

    def _take(
        self, stream: str, counts: Mapping[str, int], begin: Mapping[str, int]
    ) -> list[Example]:
        taken = []
        for pool, problems in self._pools.items():
            size = len(problems)
            numbers = range(begin[pool], begin[pool] + counts[pool])
            epochs = {number // size for number in numbers}
            shuffled = {epoch: self._order(stream, pool, epoch) for epoch in epochs}
            taken += [problems[shuffled[n // size][n % size]] for n in numbers]
        return taken

    def _order(self, stream: str, pool: str, epoch: int) -> list[int]:
        seed = [self._seed, epoch, *stream.encode(), *pool.encode()]
        size = len(self._pools[pool])
        order: list[int] = np.random.default_rng(seed).permutation(size).tolist()
        return order
