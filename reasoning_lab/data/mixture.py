"""Training and held-out problems from several sources, with nothing shared between the two."""

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Example
from reasoning_lab.data.specs import DataSpec

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
        """The first `count` training examples of a source, to show in a few-shot prompt."""
        return tuple(example for example in self.train if example.source == source)[:count]

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of every example in order."""
        digest = hashlib.sha256()
        for example in (*self.train, *self.held_out):
            digest.update(json.dumps(dataclasses.asdict(example)).encode())
        return digest.hexdigest()


def build_mixture(spec: DataSpec, *, held_out: int, seed: int) -> Mixture:
    """Take `held_out` problems of every source, then its training rows, none of them twice.

    Problems are the same if their ids are, or their questions but for case and spacing. Held-out
    problems are taken first, so they do not change with the number of rows.

    Raises:
        ConfigError: a source has too few distinct problems, or too few with reasoning.
    """
    intakes = _hold_out(spec, held_out=held_out, seed=seed, asked=_Problems())
    asked = _Problems(example for intake in intakes for example in intake.held_out)
    taught = _Problems()
    for intake in intakes:
        intake.take_training(spec.sources[intake.name].rows, asked=asked, taught=taught)
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
    intakes = _hold_out(spec, held_out=held_out, seed=seed, asked=_Problems(trained_on))
    return tuple(example for intake in intakes for example in intake.held_out)


def _hold_out(spec: DataSpec, *, held_out: int, seed: int, asked: "_Problems") -> list["_Intake"]:
    intakes = [
        _Intake(name, source.examples(name=name, seed=seed))
        for name, source in spec.sources.items()
    ]
    for intake in intakes:
        intake.take_held_out(held_out, asked=asked)
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
    """The id, and the question's words, numbers and signs without case and spacing."""
    words = re.findall(r"\w+|[^\w\s]", example.question.casefold())
    return f"id {example.id}", f"question {' '.join(words)}"


class _Intake:
    """One source's stream, and what became of each problem read from it."""

    def __init__(self, name: str, stream: Iterator[Example]) -> None:
        self.name = name
        self.held_out: list[Example] = []
        self.train: list[Example] = []
        self._stream = stream
        self._fate: Counter[str] = Counter()

    def take_held_out(self, count: int, *, asked: _Problems) -> None:
        for example in self._read(self.held_out, count):
            if example in asked:
                self._fate["duplicates"] += 1
            else:
                asked.add(example)
                self.held_out.append(example)

    def take_training(self, rows: int | None, *, asked: _Problems, taught: _Problems) -> None:
        for example in self._read(self.train, rows):
            if example in asked:
                self._fate["overlapping"] += 1
            elif example in taught:
                self._fate["duplicates"] += 1
            elif not example.reasoning:
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

    def _read(self, taken: list[Example], wanted: int | None) -> Iterator[Example]:
        """Problems until the caller has `wanted` in `taken`, or all that are left."""
        in_vain = 0
        while wanted is None or len(taken) < wanted:
            example = next(self._stream, None)
            if example is None and wanted is None and taken:
                return
            if example is None or (wanted is not None and in_vain == _PATIENCE):
                raise self._too_few("training" if taken is self.train else "held-out", wanted)
            before = len(taken)
            yield example
            in_vain = 0 if len(taken) > before else in_vain + 1

    def _too_few(self, part: str, wanted: int | None) -> ConfigError:
        row = self.funnel()
        key = f"data.sources.{self.name}"
        return ConfigError(
            f"{key} has too few distinct problems: {wanted or 'some'} {part} ones are wanted. "
            f"Of {row.read} read, {row.held_out} are held out, {row.kept} kept for training, "
            f"{row.duplicates} repeat another, {row.overlapping} are among the held-out ones, "
            f"{row.no_reasoning} have no reasoning to learn from.\n"
            f"Lower {key}.rows or evaluation.problems, or make the problems more varied.",
            keys=[f"{key}.rows", "evaluation.problems"],
        )
