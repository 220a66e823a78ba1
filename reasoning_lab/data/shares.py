"""How often each domain is drawn: shares by weight, temperature and what teaches something."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Self

import numpy as np

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Example
from reasoning_lab.data.specs import DataSpec

_MEMORY = 0.9  # of what was known of a domain, what is kept at each step that shows more of it
_LIVE = "domain/{}/live"


def base_shares(spec: DataSpec, problems: Sequence[Example]) -> dict[str, float]:
    """Each domain's share: (weight, or number of problems)^(1/temperature), made to sum to 1.

    Raises:
        ConfigError: `data.weights` leaves a domain out, or names one that has no problems.
    """
    counts = Counter(problem.domain for problem in problems)
    sizes: Mapping[str, float] = spec.weights or counts
    if set(sizes) != set(counts):
        missing, unknown = sorted(counts.keys() - sizes), sorted(sizes.keys() - counts)
        said = [f"{name} has no weight" for name in missing]
        said += [f"{name} has no training problems" for name in unknown]
        raise ConfigError(
            f"data.weights must name every domain of the data and no other: {'; '.join(said)}. "
            f"The domains are {', '.join(counts)}.",
            keys=["data.weights"],
        )
    powers = {domain: sizes[domain] ** (1 / spec.temperature) for domain in counts}
    return {domain: power / sum(powers.values()) for domain, power in powers.items()}


def cut_to_shares(spec: DataSpec, problems: Sequence[Example]) -> tuple[Example, ...]:
    """The first problems of each domain, as many of each as its share asks for, none twice.

    The domain that is scarcest for its share is taken whole. Without weights and temperature these
    are all problems.
    """
    if not spec.is_mixed:
        return tuple(problems)
    shares = base_shares(spec, problems)
    counts = Counter(problem.domain for problem in problems)
    total = min(counts[domain] / share for domain, share in shares.items())
    # 1e-9: what is whole but for rounding is whole.
    left = {domain: floor(total * share + 1e-9) for domain, share in shares.items()}
    taken = []
    for problem in problems:
        if left[problem.domain]:
            left[problem.domain] -= 1
            taken.append(problem)
    return tuple(taken)


def live_shares(metrics: Mapping[str, float]) -> dict[str, float]:
    """From a step's metrics: of each domain's groups, the share that teaches something."""
    before, after = _LIVE.split("{}")
    return {
        name.removeprefix(before).removesuffix(after): value
        for name, value in metrics.items()
        if name.startswith(before) and name.endswith(after)
    }


@dataclass
class Shares:
    """Each domain's share of the problems of a step, as a function of the steps before it.

    In the adaptive mode a domain's share is in proportion to its base share times the share of its
    groups that taught something, averaged over the steps with most weight on the last ones; but
    `floor` of all problems at least. A domain begins as one whose groups all teach something.
    """

    base: dict[str, float]
    adaptive: bool = False
    floor: float = 0.0
    _live: dict[str, float] = field(default_factory=dict)
    _shares: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def of(cls, spec: DataSpec, problems: Sequence[Example]) -> Self | None:
        """Those that a data config asks for; None if problems are to be drawn as they come.

        Raises:
            ConfigError: the weights do not fit the domains, or the floor is more than there is.
        """
        if not spec.is_mixed:
            return None
        base = base_shares(spec, problems)
        if spec.adaptive and spec.floor * len(base) > 1:
            raise ConfigError(
                f"data.floor={spec.floor:g} for each of {len(base)} domains is more than all there "
                f"is. Use data.floor={1 / len(base):.2g} or less.",
                keys=["data.floor"],
            )
        return cls(base, adaptive=spec.adaptive, floor=spec.floor)

    def at(self, step: int) -> dict[str, float]:
        """The shares of a step, from 0; in the adaptive mode only once all before it are known."""
        if not self.adaptive:
            return self.base
        if not self._shares:
            self._shares.append(self._adapted())
        return self._shares[step]

    def observe(self, step: int, live: Mapping[str, float]) -> None:
        """What share of each domain's groups taught something in a step; steps come in order."""
        if not self.adaptive:
            return
        assert self.at(step) is self._shares[-1], f"step {step} out of order"
        for domain, now in live.items():
            self._live[domain] = _MEMORY * self._live.get(domain, 1.0) + (1 - _MEMORY) * now
        self._shares.append(self._adapted())

    def _adapted(self) -> dict[str, float]:
        drawn = {domain: share * self._live.get(domain, 1.0) for domain, share in self.base.items()}
        total = sum(drawn.values())
        rest = 1 - self.floor * len(self.base)
        return {
            domain: self.floor + rest * (part / total if total else self.base[domain])
            for domain, part in drawn.items()
        }

    def counts(self, step: int, number: int, random: np.random.Generator) -> dict[str, int]:
        """How many of `number` problems each domain gives: its share of them, rounded up or down.

        Systematic sampling: one random offset decides all the roundings.
        """
        shares = self.at(step)
        ends = np.cumsum(list(shares.values())) * number
        ends[-1] = number  # but for rounding it is
        upto = np.floor(ends + random.random()).astype(int)
        return dict(zip(shares, np.diff(upto, prepend=0).tolist(), strict=True))
