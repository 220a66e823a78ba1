"""Several tokenised examples in one row, so that hardly a token is padding.

A batch is a pure function of (seed, step): a run that was stopped asks for the next step and gets
what it would have got.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

# How many of the next examples may fill up a row. 64 leaves about 1% of padding on short mixed
# examples, and a row still holds what the shuffle brought together.
_LOOKAHEAD = 64

Batch = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class TokenizedExample:
    """`tokens` holds prompt and completion, end marker included; the prompt comes first."""

    tokens: Sequence[int]
    prompt_length: int
    example_id: str

    def __post_init__(self) -> None:
        if not 0 < self.prompt_length < len(self.tokens):
            raise ValueError(
                f"{self.example_id}: a prompt of {self.prompt_length} tokens in an example of "
                f"{len(self.tokens)} leaves no prompt or no completion"
            )


def pack(lengths: Sequence[int], max_length: int, *, seed: int) -> tuple[tuple[int, ...], ...]:
    """Rows of example indices whose lengths sum to at most `max_length` tokens.

    Examples are shuffled. Each row takes the next one and, of the following 64, those that fill
    the row best (subset sum).
    """
    shuffled = iter(np.random.default_rng(seed).permutation(len(lengths)).tolist())
    waiting = list(islice(shuffled, 1 + _LOOKAHEAD))
    rows = []
    while waiting:
        first, *following = waiting
        room = max_length - lengths[first]
        if room < 0:
            raise ValueError(f"an example of {lengths[first]} tokens is longer than {max_length}")
        fillers = _best_fill([lengths[index] for index in following], room)
        row = (first, *(following[position] for position in fillers))
        rows.append(row)
        waiting = [index for index in following if index not in row]
        waiting += islice(shuffled, len(row))
    return tuple(rows)


def _best_fill(lengths: Sequence[int], room: int) -> list[int]:
    """Positions of the lengths with the largest sum that is at most `room`."""
    # For each sum: the last position of one subset that has it, and the sum before that position.
    reached = {0: (-1, 0)}
    for position, length in enumerate(lengths):
        for total in sorted(reached, reverse=True):
            if total + length <= room and total + length not in reached:
                reached[total + length] = (position, total)
        if room in reached:
            break
    positions = []
    total = max(reached)
    while total:
        position, total = reached[total]
        positions.append(position)
    return positions[::-1]


class PackedRows:
    """An endless stream of batches over the same packed rows, in a new order every epoch.

    What shares a row is fixed by `seed`, so every epoch has the same number of rows and a step's
    rows can be computed without the steps before it; the order of rows depends on (seed, epoch).
    A batch that reaches the end of an epoch takes its last rows from the next.
    """

    def __init__(
        self,
        examples: Sequence[TokenizedExample],
        *,
        max_length: int,
        rows_per_batch: int,
        seed: int,
        packing: bool = True,
    ) -> None:
        """With `packing` off each example has a row of its own.

        Raises ValueError if there are no examples or one is longer than `max_length` tokens.
        """
        if not examples:
            raise ValueError("there are no examples to put into rows")
        lengths = [len(example.tokens) for example in examples]
        if max(lengths) > max_length:
            raise ValueError(f"an example of {max(lengths)} tokens is longer than {max_length}")
        self.max_length = max_length
        self.rows_per_batch = rows_per_batch
        self.rows = (
            pack(lengths, max_length, seed=seed)
            if packing
            else tuple((index,) for index in range(len(examples)))
        )
        self._examples = tuple(examples)
        self._seed = seed

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see every example at least once."""
        return -(-len(self.rows) // self.rows_per_batch)

    @property
    def padding_fraction(self) -> float:
        """Share of all positions that hold no token of an example."""
        tokens = sum(len(example.tokens) for example in self._examples)
        return 1 - tokens / (len(self.rows) * self.max_length)

    def epoch_of(self, step: int) -> float:
        """Epochs done when `step` begins."""
        return step * self.rows_per_batch / len(self.rows)

    def batch(self, step: int) -> Batch:
        """The rows of one step, as arrays of shape [rows_per_batch, max_length].

        tokens (int32) is 0 where there is no token; positions (int32) restart at 0 with each
        example; segment_ids (int32) is 0 for padding, then 1, 2, … within a row; loss_mask (bool)
        marks the tokens to be predicted: the completions.
        """
        shape = (self.rows_per_batch, self.max_length)
        tokens, positions, segment_ids = (np.zeros(shape, np.int32) for _ in range(3))
        loss_mask = np.zeros(shape, np.bool_)
        for place, row in enumerate(self._rows_of(step)):
            start = 0
            for segment, index in enumerate(row, start=1):
                example = self._examples[index]
                end = start + len(example.tokens)
                tokens[place, start:end] = example.tokens
                positions[place, start:end] = np.arange(end - start)
                segment_ids[place, start:end] = segment
                loss_mask[place, start + example.prompt_length : end] = True
                start = end
        return {
            "tokens": tokens,
            "positions": positions,
            "segment_ids": segment_ids,
            "loss_mask": loss_mask,
        }

    def _rows_of(self, step: int) -> list[tuple[int, ...]]:
        numbers = range(step * self.rows_per_batch, (step + 1) * self.rows_per_batch)
        epochs = range(numbers[0] // len(self.rows), numbers[-1] // len(self.rows) + 1)
        orders = {epoch: self._order(epoch) for epoch in epochs}
        return [
            self.rows[orders[number // len(self.rows)][number % len(self.rows)]]
            for number in numbers
        ]

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng((self._seed, epoch)).permutation(len(self.rows))
