"""Training and held-out problems from several sources, with nothing shared between the two."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from random import Random

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.filters import Length, NearDuplicates, why_not
from reasoning_lab.data.specs import DataSpec, FiltersSpec, Source

# A stream that gave nothing new for so many problems has no more distinct ones.
_PATIENCE = 3000
_SHOWN, _SHOWN_CHARS = 3, 300  # of the rows that a reason removed


@dataclass(frozen=True)
class FunnelRow:
    """Where the rows read from one source went: `read` = held_out + all removed + kept.

    removed: {reason: rows}, in the order in which reasons first came up.
    examples: {reason: the beginnings of a few such rows}.
    """

    source: str
    read: int
    held_out: int
    removed: dict[str, int]
    kept: int
    examples: dict[str, tuple[str, ...]]

    @property
    def survivors(self) -> float:
        """Share of the rows that were not held out."""
        candidates = self.read - self.held_out
        return self.kept / candidates if candidates else 1.0


@dataclass(frozen=True)
class Mixture:
    """`train` is shuffled over the sources; `held_out` stands source by source."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    funnel: tuple[FunnelRow, ...]

    def shots(self, source: str, count: int) -> tuple[Example, ...]:
        """The first `count` training examples of a source that can be shown in a prompt."""
        shown = (one for one in self.train if one.source == source and one.reasoning)
        return tuple(islice(shown, count))

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of every example in order."""
        digest = hashlib.sha256()
        for example in (*self.train, *self.held_out):
            digest.update(json.dumps(dataclasses.asdict(example)).encode())
        return digest.hexdigest()


def build_mixture(
    spec: DataSpec,
    *,
    held_out: int,
    seed: int,
    needs_reasoning: bool = True,
    length: Length | None = None,
    trained_on: Iterable[Example] = (),
) -> Mixture:
    """Take `held_out` problems of every source, then its training rows, none of them twice.

    Problems are the same if their ids are, or their questions but for case and spacing, or as
    `data.filters.near_duplicates` has it. Held-out problems are taken first, so they do not change
    with the number of rows.

    Args:
        needs_reasoning: leave training examples without reasoning out; reinforcement learning can
            do without.
        length: leave out longer training examples.
        trained_on: what the model has seen in training before. It is never held out, but may be
            trained on again.

    Raises:
        ConfigError: a source has too few problems that are distinct and pass the filters, or they
            leave less of it than `data.allow_shrink`.
    """
    likeness = spec.filters.near_duplicates
    intakes = _hold_out(spec, held_out=held_out, seed=seed, trained_on=trained_on)
    asked = _Problems((e for intake in intakes for e in intake.held_out), likeness=likeness)
    taught = _Problems(likeness=likeness)

    def unfit(example: Example) -> str | None:
        reason = why_not(example, spec.filters, needs_reasoning=needs_reasoning, length=length)
        if reason is not None:
            return reason
        return _repeats(example, asked, "a held-out one") or _repeats(example, taught, "another")

    for intake in intakes:
        intake.take_training(spec.sources[intake.name].rows, unfit=unfit, taught=taught)
        _check_shrink(intake, spec)
    train = [example for intake in intakes for example in intake.train]
    Random(f"order/{seed}").shuffle(train)
    return Mixture(
        train=tuple(train),
        held_out=tuple(example for intake in intakes for example in intake.held_out),
        funnel=tuple(intake.funnel() for intake in intakes),
    )


def build_held_out(
    spec: DataSpec, *, held_out: int, seed: int, trained_on: Iterable[Example] = ()
) -> tuple[Example, ...]:
    """The held-out problems that `build_mixture` takes, where nothing is to be trained.

    None of `trained_on` is among them, whatever data and number of problems are asked for.

    Raises:
        ConfigError: a source has too few distinct problems.
    """
    intakes = _hold_out(spec, held_out=held_out, seed=seed, trained_on=trained_on)
    return tuple(example for intake in intakes for example in intake.held_out)


def _hold_out(
    spec: DataSpec, *, held_out: int, seed: int, trained_on: Iterable[Example]
) -> list["_Intake"]:
    intakes = [_Intake(name, source, seed) for name, source in spec.sources.items()]
    asked, seen = _Problems(), _Problems(trained_on)
    for intake in intakes:
        intake.take_held_out(held_out, filters=spec.filters, asked=asked, seen=seen)
    return intakes


def keep_only(mixture: Mixture, train: Sequence[Example], reason: str) -> Mixture:
    """The mixture with some of its training examples only; `reason` says why the others go."""
    if len(train) == len(mixture.train):
        return mixture
    kept = Counter(example.source for example in train)
    rows = [
        replace(
            row,
            kept=kept[row.source],
            removed={**row.removed, reason: row.kept - kept[row.source]},
        )
        for row in mixture.funnel
    ]
    return replace(mixture, train=tuple(train), funnel=tuple(rows))


def _check_shrink(intake: "_Intake", spec: DataSpec) -> None:
    """Raises: ConfigError if filters leave less of a source than is allowed.

    A generated source may repeat itself as often as it likes.
    """
    row = intake.funnel()
    if row.survivors < spec.allow_shrink and not spec.sources[row.source].endless:
        raise ConfigError(
            f"data.sources.{row.source}: the filters leave {row.survivors:.1%} of its rows, less "
            f"than data.allow_shrink={spec.allow_shrink:g}. {in_words(row)}.\n"
            "Look at the rows (python -m reasoning_lab data funnel), change the filters or "
            f"lengths, or accept it: data.allow_shrink={int(row.survivors * 1000) / 1000:g}.",
            keys=[f"data.sources.{row.source}", "data.allow_shrink"],
        )


def in_words(row: FunnelRow) -> str:
    """As "Of 707 read: 4 held out, 250 repeats another, 3 no reasoning, 450 kept"."""
    removed = "".join(f", {count} {reason}" for reason, count in row.removed.items())
    return f"Of {row.read} read: {row.held_out} held out{removed}, {row.kept} kept"


class _Problems:
    """A set of problems."""

    def __init__(self, examples: Iterable[Example] = (), *, likeness: float | None = None) -> None:
        self._keys: set[str] = set()
        self._near = None if likeness is None else NearDuplicates(likeness)
        for example in examples:
            self.add(example)

    def add(self, example: Example) -> None:
        self._keys.update(_keys(example))
        if self._near is not None:
            self._near.add(example)

    def has_near(self, example: Example) -> bool:
        return self._near is not None and example in self._near

    def __contains__(self, example: Example) -> bool:
        return not self._keys.isdisjoint(_keys(example))


def _repeats(example: Example, problems: _Problems, which: str) -> str | None:
    if example in problems:
        return f"repeats {which}"
    return f"nearly repeats {which}" if problems.has_near(example) else None


def _keys(example: Example) -> tuple[str, str]:
    return f"id {example.id}", f"question {example.wording}"


class _Intake:
    """One source's streams, and what became of each row read from them."""

    def __init__(self, name: str, source: Source, seed: int) -> None:
        self.name = name
        self.held_out: list[Example] = []
        self.train: list[Example] = []
        self._training = source.examples(name=name, seed=seed)
        self._apart = source.held_out_examples(name=name, seed=seed)
        self._passed_over: list[Example] = []
        self._removed: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def take_held_out(
        self, count: int, *, filters: FiltersSpec, asked: _Problems, seen: _Problems
    ) -> None:
        stream = self._training if self._apart is None else self._apart
        for example in self._read(stream, self.held_out, count):
            if example in seen:
                self._passed_over.append(example)
            elif example in asked:
                self._remove("repeats another", example)
            elif reason := why_not(example, filters, needs_reasoning=False, length=None):
                self._remove(reason, example)
            else:
                asked.add(example)
                self.held_out.append(example)
        if self._apart is None:
            self._training = chain(self._passed_over, self._training)

    def take_training(
        self, rows: int | None, *, unfit: Callable[[Example], str | None], taught: _Problems
    ) -> None:
        for example in self._read(self._training, self.train, rows):
            reason = unfit(example)
            if reason is None:
                taught.add(example)
                self.train.append(example)
            else:
                self._remove(reason, example)

    def funnel(self) -> FunnelRow:
        return FunnelRow(
            source=self.name,
            read=len(self.held_out) + len(self.train) + sum(self._removed.values()),
            held_out=len(self.held_out),
            removed=dict(self._removed),
            kept=len(self.train),
            examples={reason: tuple(texts) for reason, texts in self._examples.items()},
        )

    def _remove(self, reason: str, row: Example | Dropped) -> None:
        text = row.text if isinstance(row, Dropped) else row.whole
        self._removed[reason] = self._removed.get(reason, 0) + 1
        shown = self._examples.setdefault(reason, [])
        if len(shown) < _SHOWN:
            shown.append(text[:_SHOWN_CHARS])

    def _read(
        self, stream: Iterator[Example | Dropped], taken: list[Example], wanted: int | None
    ) -> Iterator[Example]:
        """Problems until the caller has `wanted` in `taken`, or all that are left."""
        in_vain = 0
        while wanted is None or len(taken) < wanted:
            row = next(stream, None)
            if row is None and wanted is None and taken:
                return
            if row is None or (wanted is not None and in_vain == _PATIENCE):
                raise self._too_few("training" if taken is self.train else "held-out", wanted)
            before = len(taken)
            if isinstance(row, Dropped):
                self._remove(row.reason, row)
            else:
                yield row
            in_vain = 0 if len(taken) > before else in_vain + 1

    def _too_few(self, part: str, wanted: int | None) -> ConfigError:
        before = f"; {len(self._passed_over)} were trained on before" * bool(self._passed_over)
        key = f"data.sources.{self.name}"
        return ConfigError(
            f"{key} has too few problems: {wanted or 'some'} {part} ones are wanted. "
            f"{in_words(self.funnel())}{before}.\n"
            f"Lower {key}.rows or evaluation.problems, make the problems more varied, or allow "
            "more of what is removed.",
            keys=[f"{key}.rows", "evaluation.problems"],
        )
