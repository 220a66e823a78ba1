"""Training and held-out problems from several sources, with nothing shared between the two."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from random import Random

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Example
from reasoning_lab.data.specs import DataSpec, Source

# A stream that gave nothing new for so many problems has no more distinct ones.
_PATIENCE = 3000


@dataclass(frozen=True)
class FunnelRow:
    """Where the problems read from one source went; `read` is the sum of the others."""

    source: str
    read: int
    held_out: int
    duplicates: int
    overlapping: int
    no_reasoning: int
    kept: int


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
    trained_on: Iterable[Example] = (),
) -> Mixture:
    """Take `held_out` problems of every source, then its training rows, none of them twice.

    Problems are the same if their ids are, or their questions but for case and spacing. Held-out
    problems are taken first, so they do not change with the number of rows.

    Args:
        needs_reasoning: leave training examples without reasoning out; reinforcement learning can
            do without.
        trained_on: what the model has seen in training before. It is never held out, but may be
            trained on again.

    Raises:
        ConfigError: a source has too few distinct problems, or too few with reasoning.
    """
    intakes = _hold_out(spec, held_out=held_out, seed=seed, trained_on=trained_on)
    asked = _Problems(example for intake in intakes for example in intake.held_out)
    taught = _Problems()
    for intake in intakes:
        rows = spec.sources[intake.name].rows
        intake.take_training(rows, asked=asked, taught=taught, needs_reasoning=needs_reasoning)
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
        intake.take_held_out(held_out, asked=asked, seen=seen)
    return intakes


class _Problems:
    """A set of problems."""

    def __init__(self, examples: Iterable[Example] = ()) -> None:
        self._keys: set[str] = set()
        for example in examples:
            self.add(example)

    def add(self, example: Example) -> None:
        self._keys.update(_keys(example))

    def __contains__(self, example: Example) -> bool:
        return not self._keys.isdisjoint(_keys(example))


def _keys(example: Example) -> tuple[str, str]:
    return f"id {example.id}", f"question {example.wording}"


class _Intake:
    """One source's streams, and what became of each problem read from them."""

    def __init__(self, name: str, source: Source, seed: int) -> None:
        self.name = name
        self.held_out: list[Example] = []
        self.train: list[Example] = []
        self._training = source.examples(name=name, seed=seed)
        self._apart = source.held_out_examples(name=name, seed=seed)
        self._passed_over: list[Example] = []
        self._fate: Counter[str] = Counter()

    def take_held_out(self, count: int, *, asked: _Problems, seen: _Problems) -> None:
        stream = self._training if self._apart is None else self._apart
        for example in self._read(stream, self.held_out, count):
            if example in seen:
                self._passed_over.append(example)
            elif example in asked:
                self._fate["duplicates"] += 1
            else:
                asked.add(example)
                self.held_out.append(example)
        if self._apart is None:
            self._training = chain(self._passed_over, self._training)

    def take_training(
        self, rows: int | None, *, asked: _Problems, taught: _Problems, needs_reasoning: bool
    ) -> None:
        for example in self._read(self._training, self.train, rows):
            if example in asked:
                self._fate["overlapping"] += 1
            elif example in taught:
                self._fate["duplicates"] += 1
            elif needs_reasoning and not example.reasoning:
                self._fate["no_reasoning"] += 1
            else:
                taught.add(example)
                self.train.append(example)

    def funnel(self) -> FunnelRow:
        return FunnelRow(
            source=self.name,
            read=len(self.held_out) + len(self.train) + self._fate.total(),
            held_out=len(self.held_out),
            duplicates=self._fate["duplicates"],
            overlapping=self._fate["overlapping"],
            no_reasoning=self._fate["no_reasoning"],
            kept=len(self.train),
        )

    def _read(
        self, stream: Iterator[Example], taken: list[Example], wanted: int | None
    ) -> Iterator[Example]:
        """Problems until the caller has `wanted` in `taken`, or all that are left."""
        in_vain = 0
        while wanted is None or len(taken) < wanted:
            example = next(stream, None)
            if example is None and wanted is None and taken:
                return
            if example is None or (wanted is not None and in_vain == _PATIENCE):
                raise self._too_few("training" if taken is self.train else "held-out", wanted)
            before = len(taken)
            yield example
            in_vain = 0 if len(taken) > before else in_vain + 1

    def _too_few(self, part: str, wanted: int | None) -> ConfigError:
        row = self.funnel()
        before = f" and {len(self._passed_over)} were trained on before" * bool(self._passed_over)
        key = f"data.sources.{self.name}"
        return ConfigError(
            f"{key} has too few distinct problems: {wanted or 'some'} {part} ones are wanted. "
            f"Of {row.read} read, {row.held_out} are held out, {row.kept} kept for training, "
            f"{row.duplicates} repeat another, {row.overlapping} are among the held-out ones, "
            f"{row.no_reasoning} have no reasoning to learn from{before}.\n"
            f"Lower {key}.rows or evaluation.problems, or make the problems more varied.",
            keys=[f"{key}.rows", "evaluation.problems"],
        )
