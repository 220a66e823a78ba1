"""What one completion got right, and how often that was so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reasoning_lab.answers import answers_match
from reasoning_lab.data.example import Example
from reasoning_lab.evaluation.statistics import wilson_interval
from reasoning_lab.formats import TAGS, parse

# In the order in which tables show them.
METRICS = ("both_tags", "reasoning_not_empty", "no_stray_tags", "well_formed", "correct")
ALL = "all"


@dataclass(frozen=True)
class Scored:
    """One completion, judged.

    both_tags: all four tags are there, anywhere and any number of times.
    reasoning_not_empty: there is one reasoning part, and something in it.
    no_stray_tags: each tag exactly once, and in its place.
    well_formed: all of these, an answer that is not empty, and no text outside the tags.
    correct: there is one answer part, and it is the right answer.
    A truncated completion is neither well formed nor correct.
    """

    example_id: str
    source: str
    domain: str
    both_tags: bool
    reasoning_not_empty: bool
    no_stray_tags: bool
    well_formed: bool
    correct: bool
    truncated: bool
    reasoning_chars: int


@dataclass(frozen=True)
class Row:
    """`count` of `denominator` completions in a group; `low` and `high` are a 95% interval."""

    group: str
    metric: str
    count: int
    denominator: int
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """The rows of one model asked in one way, as "tuned" or "base, 4-shot"."""

    name: str
    rows: tuple[Row, ...]


def score(completion: str, example: Example, *, truncated: bool) -> Scored:
    """Judge a completion, given without its end marker.

    `truncated` says that it ran out of tokens before it came to an end: to the end marker or, in
    a few-shot prompt, to the next question (`formats.until_next_question`).
    """
    parsed = parse(completion)
    places = [completion.find(tag) for tag in TAGS]
    once = all(completion.count(tag) == 1 for tag in TAGS)
    correct = parsed.answer is not None and answers_match(parsed.answer, example.answer)
    return Scored(
        example_id=example.id,
        source=example.source,
        domain=example.domain,
        both_tags=min(places) >= 0,
        reasoning_not_empty=bool(parsed.reasoning),
        no_stray_tags=once and places == sorted(places),
        well_formed=parsed.well_formed and not truncated,
        correct=correct and not truncated,
        truncated=truncated,
        reasoning_chars=len(parsed.reasoning or ""),
    )


def summarise(name: str, scored: Sequence[Scored]) -> Summary:
    """Every metric for all completions together and, if there are several, for each domain."""
    domains = list(dict.fromkeys(one.domain for one in scored))
    rows = _rows(ALL, scored)
    if len(domains) > 1:
        for domain in domains:
            rows += _rows(domain, [one for one in scored if one.domain == domain])
    return Summary(name, tuple(rows))


def _rows(group: str, scored: Iterable[Scored]) -> list[Row]:
    judged = list(scored)
    rows = []
    for metric in METRICS:
        count = sum(getattr(one, metric) for one in judged)
        rows.append(Row(group, metric, count, len(judged), *wilson_interval(count, len(judged))))
    return rows
