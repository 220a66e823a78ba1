"""What a reward says about completions, checked before anything is trained on it."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.rewards.specs import Attempt, Reward

_SHOWN_CHARS = 300


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of N attempts.

    components: each reward's name to its own scores, float64 [N], without its weight; NaN where
        the attempt is of a domain that the reward is not for.
    total: float64 [N], the sum of an attempt's components times their weights.
    finite: bool [N], whether the total is a number at all. Where it is not, a reward gave NaN or
        an infinity; it is the caller's to stop or to leave the attempt out.
    too_slow: rewards that did not come to an end in time; they gave 0 to all attempts.
    """

    components: dict[str, NDArray[np.float64]]
    total: NDArray[np.float64]
    finite: NDArray[np.bool_]
    too_slow: tuple[str, ...] = ()


class RewardError(RunError):
    """A reward failed, or returned what is no score.

    `reward` is its name under `reward`. `index` says which of the attempts it was, where that is
    known, and `attempts` holds that one alone; else it holds all that the reward was called with.
    """

    def __init__(
        self, problem: str, reward: str, attempts: Sequence[Attempt], index: int | None = None
    ) -> None:
        self.problem = problem
        self.reward = reward
        self.index = index
        self.attempts = tuple(attempts if index is None else [attempts[index]])
        super().__init__(f"reward.{reward} {problem}\n{self._sample()}")

    def as_record(self) -> dict[str, Any]:
        """For a file of JSON."""
        return {
            "reward": f"reward.{self.reward}",
            "problem": self.problem,
            "index": self.index,
            "attempts": [dataclasses.asdict(attempt) for attempt in self.attempts],
        }

    def _sample(self) -> str:
        if self.index is None:
            return f"It had {len(self.attempts)} attempts to score."
        (attempt,) = self.attempts
        return (
            f"attempt {self.index} (truncated: {str(attempt.truncated).lower()})\n"
            f"question: {_shown(attempt.example.question)}\n"
            f"completion: {_shown(attempt.completion)}"
        )


def prepare(rewards: Mapping[str, Reward]) -> None:
    """Let each reward find out, before training begins, whether it can be used.

    Raises:
        ConfigError: one cannot.
    """
    for name, reward in rewards.items():
        reward.prepare(name)


def score_attempts(
    rewards: Mapping[str, Reward], attempts: Sequence[Attempt], *, timeout_seconds: float
) -> Scores:
    """Let every reward score the attempts of its domains, all rewards at once.

    A reward that takes longer than `timeout_seconds` gives 0 to all attempts, so that within a
    group nothing is won or lost by it, and is named in the scores. Python cannot stop a function:
    one that hangs goes on in a daemon thread.

    Raises:
        RewardError: a reward raised, or returned anything but one number for each attempt.
        ConfigError: a reward cannot be used; `prepare` would have said so.
    """
    domains = [attempt.example.domain for attempt in attempts]
    running = {}
    for name, reward in rewards.items():
        places = [i for i, domain in enumerate(domains) if reward.is_for(domain)]
        running[name] = _Scoring(name, reward, [attempts[i] for i in places], places)
    deadline = time.monotonic() + timeout_seconds
    components, too_slow = {}, []
    for name, scoring in running.items():
        component = np.full(len(attempts), np.nan)
        try:
            component[scoring.places] = scoring.result(deadline)
        except _TooSlowError:
            component[scoring.places] = 0.0
            too_slow.append(name)
        components[name] = component
    total = np.zeros(len(attempts))
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf, and sums beyond float64
        for name, scoring in running.items():
            places = scoring.places
            total[places] += rewards[name].weight * components[name][places]
    return Scores(components, total, np.isfinite(total), tuple(too_slow))


class _Scoring:
    """One reward at work on its attempts, whose places among all of them are `places`."""

    def __init__(
        self, name: str, reward: Reward, attempts: Sequence[Attempt], places: list[int]
    ) -> None:
        self.places = places
        self._name, self._reward, self._attempts = name, reward, attempts
        self._call = _Call(partial(reward.score, attempts)) if attempts else None

    def result(self, deadline: float) -> NDArray[np.float64]:
        """Its scores, float64 [len(places)].

        Raises:
            _TooSlowError: it has not come to an end.
        """
        if self._call is None:
            return np.zeros(0)
        try:
            returned = self._call.result(deadline)
        except (ConfigError, KeyboardInterrupt, _TooSlowError):
            raise
        except BaseException as error:  # sys.exit() too
            index = _first_failing(self._reward, self._attempts, deadline)
            raise RewardError(f"raised {error!r}.", self._name, self._attempts, index) from error
        return _checked(returned, self._name, self._attempts)


def _first_failing(reward: Reward, attempts: Sequence[Attempt], deadline: float) -> int | None:
    """The first attempt on which the reward fails alone, if it is found in time."""
    for index, attempt in enumerate(attempts):
        try:
            _Call(partial(reward.score, [attempt])).result(deadline)
        except _TooSlowError:
            return None
        except KeyboardInterrupt:
            raise
        except BaseException:
            return index
    return None


def _checked(returned: Any, name: str, attempts: Sequence[Attempt]) -> NDArray[np.float64]:
    """What a reward returned, as float64 [N]."""
    is_list = isinstance(returned, list | tuple)
    if not is_list and not (isinstance(returned, np.ndarray) and returned.ndim == 1):
        problem = f"returned {_a(returned)} instead of a list of numbers."
        raise RewardError(problem, name, attempts)
    if len(returned) != len(attempts):
        problem = f"returned {len(returned)} scores for {len(attempts)} attempts."
        raise RewardError(problem, name, attempts)
    scores = np.empty(len(attempts))
    for index, value in enumerate(returned):
        if not isinstance(value, Real | np.bool_):
            problem = f"returned {_a(value)} instead of a number."
            raise RewardError(problem, name, attempts, index)
        try:
            scores[index] = float(value)
        except OverflowError as error:
            raise RewardError("returned too large a number.", name, attempts, index) from error
    return scores


def _a(value: object) -> str:
    """A value in words that are short whatever it is."""
    return "None" if value is None else f"a value of type {type(value).__name__}"


class _TooSlowError(Exception):
    pass


class _Call:
    """A call in a thread of its own, which is left to itself if it does not come to an end."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._returned: list[Any] = []
        self._raised: list[BaseException] = []
        self._thread = Thread(target=self._run, args=[call], name="reward", daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self._returned.append(call())
        except BaseException as error:  # SystemExit too: a reward must not end a thread in silence
            self._raised.append(error)

    def result(self, deadline: float) -> Any:
        """What the call returns or raises.

        Raises:
            _TooSlowError: it has not come to an end by the deadline, of `time.monotonic()`.
        """
        self._thread.join(max(deadline - time.monotonic(), 0))
        if self._raised:
            raise self._raised[0]
        if not self._returned:
            raise _TooSlowError
        return self._returned[0]


def _shown(text: str) -> str:
    """The beginning of a text, on one line."""
    return repr(text[:_SHOWN_CHARS]) + "…" * (len(text) > _SHOWN_CHARS)
