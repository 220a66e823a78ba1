"""Completions in rows for the training pass: a prompt stands once before all its completions.

A row holds segments; a segment is one prompt and, behind it, branches: completions that all see
the prompt and none of which sees another (arXiv 2506.05433 calls it prefix grouping). With 8
completions of 30 tokens after a prompt of 50, that is 290 tokens to compute in place of 640.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reasoning_lab.stages.specs import GRPOSpec

Arrays = dict[str, npt.NDArray[np.generic]]


Group = tuple[Sequence[int], Sequence[Sequence[int]]]
"""The tokens of one prompt, and those of what was sampled after it."""


@dataclass(frozen=True)
class RowShape:
    """The fixed shape of a step's rows: `micro_batches` x `rows` x `length`."""

    micro_batches: int
    rows: int
    length: int

    @classmethod
    def of(cls, stage: GRPOSpec, rows_at_once: int) -> "RowShape":
        """That of a stage's steps; `rows_at_once` over all devices."""
        return cls.for_step(
            groups=stage.batch_size,
            num_generations=stage.num_generations,
            max_prompt_length=stage.max_prompt_length,
            max_completion_length=stage.max_completion_length,
            row_length=stage.tokens_in_a_row,
            rows_at_once=rows_at_once,
        )

    @classmethod
    def for_step(
        cls,
        *,
        groups: int,
        num_generations: int,
        max_prompt_length: int,
        max_completion_length: int,
        row_length: int,
        rows_at_once: int,
    ) -> "RowShape":
        """Room for `groups` groups even if everything is as long as it may be."""
        in_a_row = (row_length - max_prompt_length) // max_completion_length
        if in_a_row < 1:
            raise ValueError(
                f"rows of {row_length} tokens do not hold a prompt of {max_prompt_length} and a "
                f"completion of {max_completion_length}"
            )
        most_rows = groups * -(-num_generations // in_a_row)
        return cls(-(-most_rows // rows_at_once), rows_at_once, row_length)


@dataclass(frozen=True)
class Rows:
    """Rows of one step, as arrays [micro-batches, rows, length]; empty rows come last.

    tokens, positions, segment_ids, branch_ids (int32) as in transformer.hidden_states;
    predictors (int32): for each token of a completion the place of the token before it, which for
    the first one is the end of the prompt; mask (bool): the tokens of completions.
    """

    arrays: Arrays
    used: int
    """Micro-batches that hold anything."""
    places: tuple[tuple[int, int, int], ...]
    """(row, start, end) of each completion in turn, rows counted through the micro-batches."""

    def spread(self, values: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """One value a completion -> that value at each of its tokens, 0 elsewhere."""
        return self.spread_tokens(
            [
                [value] * (end - start)
                for value, (_, start, end) in zip(np.asarray(values), self.places, strict=True)
            ]
        )

    def spread_tokens(self, values: Sequence[Sequence[float]]) -> npt.NDArray[np.float32]:
        """One value a token of each completion -> an array like the others."""
        shape = self.arrays["tokens"].shape
        spread = np.zeros((shape[0] * shape[1], shape[2]), np.float32)
        for numbers, (row, start, end) in zip(values, self.places, strict=True):
            spread[row, start:end] = numbers
        return spread.reshape(shape)

    def sum_of_completions(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """The sum over the tokens of each completion of an array like the others."""
        flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
        return np.array([flat[row, start:end].sum() for row, start, end in self.places])


def pack_groups(groups: Sequence[Group], shape: RowShape) -> Rows:
    """Put groups into rows, one after another; what does not fit begins a new row with its prompt.

    Raises ValueError if a prompt with one completion is longer than a row, or rows run out.
    """
    size = (shape.micro_batches * shape.rows, shape.length)
    arrays = {
        name: np.zeros(size, np.int32)
        for name in ("tokens", "positions", "segment_ids", "branch_ids", "predictors")
    }
    mask = np.zeros(size, np.bool_)
    places = []
    row, end, segment = 0, 0, 0

    def put(tokens: Sequence[int], position: int, branch: int) -> slice:
        here = slice(end, end + len(tokens))
        arrays["tokens"][row, here] = tokens
        arrays["positions"][row, here] = position + np.arange(len(tokens))
        arrays["segment_ids"][row, here] = segment
        arrays["branch_ids"][row, here] = branch
        return here

    for prompt, completions in groups:
        branch, prompt_end = 0, 0  # the prompt is not in this row yet
        for completion in completions:
            needed = len(completion) + (0 if branch else len(prompt))
            if end and end + needed > shape.length:
                row, end, segment, branch = row + 1, 0, 0, 0
                needed = len(completion) + len(prompt)
            if needed > shape.length or row == size[0]:
                raise ValueError(f"{needed} tokens do not fit into {size[0]} rows of {size[1]}")
            if not branch:
                segment += 1
                end = put(prompt, 0, 0).stop
                prompt_end = end - 1
            branch += 1
            here = put(completion, len(prompt), branch)
            before = [prompt_end, *range(end, here.stop - 1)]
            arrays["predictors"][row, here] = before[: len(completion)]
            mask[row, here] = True
            places.append((row, here.start, here.stop))
            end = here.stop
    shaped: Arrays = {
        name: array.reshape(shape.micro_batches, shape.rows, shape.length)
        for name, array in (*arrays.items(), ("mask", mask))
    }
    return Rows(shaped, -(-(row + bool(end)) // shape.rows), tuple(places))


def loss_weights(
    lengths: npt.NDArray[np.integer], aggregation: str, max_completion_length: int
) -> npt.NDArray[np.float64]:
    """What each token of a completion weighs in a step's loss, by the completions' lengths [N].

    sequence_mean: mean over completions of the mean over their tokens (GRPO, arXiv 2402.03300).
    token_mean: mean over all tokens of the step (DAPO, arXiv 2503.14476).
    constant: sum over tokens, divided by N x max_completion_length, so that length does not change
        what a token weighs (Dr. GRPO, arXiv 2503.20783).
    """
    counts = lengths.astype(np.float64)
    if aggregation == "sequence_mean":
        weights: npt.NDArray[np.float64] = 1 / (len(counts) * np.maximum(counts, 1))
        return weights
    if aggregation == "token_mean":
        return np.full(len(lengths), 1 / max(counts.sum(), 1))
    return np.full(len(lengths), 1 / (len(lengths) * max_completion_length))
