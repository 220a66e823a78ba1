"""What one completion got right, and how often that was so."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from reasoning_lab.data.example import Example
from reasoning_lab.evaluation.pass_at_k import pass_at_k
from reasoning_lab.evaluation.statistics import mean_interval, wilson_interval
from reasoning_lab.formats import TAGS, parse

# In the order in which tables show them.
FORMAT = ("both_tags", "reasoning_not_empty", "no_stray_tags", "well_formed")
METRICS = (*FORMAT, "correct")
TRUNCATED = "truncated"  # counted too, but the fewer the better
LENGTHS = ("reasoning_chars", "reasoning_steps")
ALL = "all"


@dataclass(frozen=True)
class Scored:
    """One completion, judged.

    both_tags: all four tags are there, anywhere and any number of times.
    reasoning_not_empty: there is one reasoning part, and something in it.
    no_stray_tags: each tag exactly once, and in its place.
    well_formed: all of these, an answer that is not empty, and no text outside the tags.
    correct: there is one answer part, and it is the right answer; None where nothing decides.
    A truncated completion is neither well formed nor correct.
    reward: what it earned; None where nothing was rewarded.
    reasoning_chars, reasoning_steps: length of the reasoning in characters and in steps (see
    `count_steps`); 0 where there is not exactly one reasoning part.
    """

    example_id: str
    source: str
    domain: str
    both_tags: bool
    reasoning_not_empty: bool
    no_stray_tags: bool
    well_formed: bool
    correct: bool | None
    truncated: bool
    reasoning_chars: int
    reasoning_steps: int
    reward: float | None = None


@dataclass(frozen=True)
class Row:
    """`count` of `denominator` completions in a group; `low` and `high` are a 95% interval.

    Of "correct" the denominator is the number of completions of which it can be said.
    """

    group: str
    metric: str
    count: int
    denominator: int
    low: float
    high: float


@dataclass(frozen=True)
class Mean:
    """The mean of a number over `denominator` problems of a group, with its 95% interval."""

    group: str
    metric: str
    value: float
    denominator: int
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """The numbers of one model asked in one way, as "tuned" or "base, 4-shot".

    `lengths` are means over all completions, in the units of `LENGTHS`; `rewards` are means named
    "reward", and none unless completions were rewarded; `pass_at` are shares named "pass_at_<k>",
    and none unless completions were sampled.
    """

    name: str
    rows: tuple[Row, ...]
    lengths: tuple[Mean, ...] = ()
    rewards: tuple[Mean, ...] = ()
    pass_at: tuple[Mean, ...] = ()

    @property
    def means(self) -> tuple[Mean, ...]:
        return (*self.lengths, *self.rewards, *self.pass_at)


def score(
    completion: str,
    example: Example,
    *,
    truncated: bool,
    correct: bool | None,
    reward: float | None = None,
) -> Scored:
    """Judge a completion, given without its end marker.

    Args:
        truncated: it ran out of tokens before it came to an end: to the end marker or, in a
            few-shot prompt, to the next question (`formats.until_next_question`).
        correct: as rewards/correctness.py has it; None where nothing decides.
        reward: what it earned, where it was rewarded.
    """
    parsed = parse(completion)
    places = [completion.find(tag) for tag in TAGS]
    once = all(completion.count(tag) == 1 for tag in TAGS)
    return Scored(
        example_id=example.id,
        source=example.source,
        domain=example.domain,
        both_tags=min(places) >= 0,
        reasoning_not_empty=bool(parsed.reasoning),
        no_stray_tags=once and places == sorted(places),
        well_formed=parsed.well_formed and not truncated,
        correct=correct,
        truncated=truncated,
        reasoning_chars=len(parsed.reasoning or ""),
        reasoning_steps=count_steps(parsed.reasoning or ""),
        reward=reward,
    )


def count_steps(reasoning: str) -> int:
    """Sentences and lines of a reasoning that say something: "8 + 8 = 16. 16 + 9 = 25." has two.

    A step ends at the end of a line, or at ".", "!", "?" or ";" before white space. What holds no
    word, or nothing but a number (as the "2." that heads a step), is no step.
    """
    pieces = (re.findall(r"\w+", piece) for piece in re.split(r"\n|(?<=[.!?;])\s", reasoning))
    return sum(len(words) > 1 or (words != [] and not words[0].isdecimal()) for words in pieces)


def summarise(
    name: str, scored: Sequence[Scored], *, right_samples: Sequence[int] = (), samples: int = 0
) -> Summary:
    """Every metric for all completions together and, if there are several, for each domain.

    Args:
        name: the model and the way it was asked.
        scored: one completion a problem.
        right_samples: for each problem, how many of the `samples` sampled completions are right;
            empty if none were sampled.
        samples: completions sampled for each problem.
    """
    places = {ALL: list(range(len(scored)))}
    domains = list(dict.fromkeys(one.domain for one in scored))
    if len(domains) > 1:
        for domain in domains:
            places[domain] = [i for i, one in enumerate(scored) if one.domain == domain]
    rows: list[Row] = []
    lengths: list[Mean] = []
    rewards: list[Mean] = []
    pass_at: list[Mean] = []
    for group, indices in places.items():
        members = [scored[i] for i in indices]
        rows += _rows(group, members)
        lengths += _lengths(group, members)
        rewards += _rewards(group, members)
        if right_samples:
            decided = [right_samples[i] for i in indices if scored[i].correct is not None]
            pass_at += _pass_at(group, decided, samples) if decided else []
    return Summary(name, tuple(rows), tuple(lengths), tuple(rewards), tuple(pass_at))


def _rows(group: str, scored: Sequence[Scored]) -> list[Row]:
    rows = []
    for metric in (*METRICS, TRUNCATED):
        told = [value for one in scored if (value := getattr(one, metric)) is not None]
        if told or not scored:
            count, total = sum(told), len(told)
            rows.append(Row(group, metric, count, total, *wilson_interval(count, total)))
    return rows


def _lengths(group: str, scored: Sequence[Scored]) -> list[Mean]:
    if not scored:
        return []
    means = []
    for metric in LENGTHS:
        values = [getattr(one, metric) for one in scored]
        low, high = mean_interval(values)
        # No length is negative, though an interval that knows only mean and spread may be.
        means.append(Mean(group, metric, fmean(values), len(values), max(low, 0.0), high))
    return means


def _rewards(group: str, scored: Sequence[Scored]) -> list[Mean]:
    values = [one.reward for one in scored if one.reward is not None]
    if not values:
        return []
    return [Mean(group, "reward", fmean(values), len(values), *mean_interval(values))]


def _pass_at(group: str, right: Sequence[int], samples: int) -> list[Mean]:
    means = []
    for k in sorted({1, samples}):
        value, low, high = pass_at_k(right, samples, k)
        means.append(Mean(group, f"pass_at_{k}", value, len(right), low, high))
    return means
