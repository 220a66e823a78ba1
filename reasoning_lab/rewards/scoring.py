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

    components: each reward's name to its own scores, float64 [N], without its weight.
    total: float64 [N], the sum of the components times their weights.
    finite: bool [N], whether the total is a number at all. Where it is not, a reward gave NaN or
        an infinity; it is the caller's to stop or to leave the attempt out.
    """

    components: dict[str, NDArray[np.float64]]
    total: NDArray[np.float64]
    finite: NDArray[np.bool_]


class RewardError(RunError):
    """A reward failed, hung, or returned what is no score.

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
    """Let every reward score all attempts, each within `timeout_seconds`.

    Raises:
        RewardError: a reward raised, took too long, or returned anything but one number for each
            attempt. Python cannot stop a function: one that hangs goes on in a daemon thread.
        ConfigError: a reward cannot be used; `prepare` would have said so.
    """
    components = {
        name: _score(name, reward, attempts, timeout_seconds) for name, reward in rewards.items()
    }
    total = np.zeros(len(attempts))
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf, and sums beyond float64
        for name, component in components.items():
            total += rewards[name].weight * component
    return Scores(components, total, np.isfinite(total))


def _score(
    name: str, reward: Reward, attempts: Sequence[Attempt], seconds: float
) -> NDArray[np.float64]:
    """One reward's scores, float64 [N]."""
    deadline = time.monotonic() + seconds
    try:
        returned = _within(seconds, partial(reward.score, attempts))
    except (ConfigError, KeyboardInterrupt):
        raise
    except _TooSlowError as error:
        problem = f"did not come to an end within {seconds:g} s."
        raise RewardError(problem, name, attempts) from error
    except BaseException as error:  # sys.exit() too
        index = _first_failing(reward, attempts, deadline)
        raise RewardError(f"raised {error!r}.", name, attempts, index) from error
    return _checked(returned, name, attempts)


def _first_failing(reward: Reward, attempts: Sequence[Attempt], deadline: float) -> int | None:
    """The first attempt on which the reward fails alone, if it is found in time."""
    for index, attempt in enumerate(attempts):
        try:
            _within(deadline - time.monotonic(), partial(reward.score, [attempt]))
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


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """What `call` returns or raises, in a thread that is left to itself after `seconds`."""
    outcome: list[Any] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # SystemExit too: a reward must not end a thread in silence
            raised.append(error)

    thread = Thread(target=run, name="reward", daemon=True)
    thread.start()
    thread.join(max(seconds, 0))
    if raised:
        raise raised[0]
    if not outcome:
        raise _TooSlowError
    return outcome[0]


def _shown(text: str) -> str:
    """The beginning of a text, on one line."""
    return repr(text[:_SHOWN_CHARS]) + "…" * (len(text) > _SHOWN_CHARS)
