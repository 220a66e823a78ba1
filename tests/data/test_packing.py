from random import Random

import numpy as np
import pytest

from reasoning_lab.data.packing import PackedRows, TokenizedExample, pack


def some_examples(count: int, shortest: int, longest: int) -> list[TokenizedExample]:
    """Examples whose tokens tell which example and place they are from."""
    random = Random(0)
    return [
        TokenizedExample(
            tokens=[1000 * (number + 1) + place for place in range(length)],
            prompt_length=random.randint(1, length - 1),
            example_id=str(number),
        )
        for number in range(count)
        for length in [random.randint(shortest, longest)]
    ]


def rows_of(examples: list[TokenizedExample], **changes: object) -> PackedRows:
    settings = {"max_length": 64, "rows_per_batch": 3, "seed": 5} | changes
    return PackedRows(examples, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shortest", "longest", "max_length"),
    [(60, 110, 256), (20, 256, 256), (40, 200, 256), (60, 110, 512), (5, 60, 128)],
)
def test_less_than_a_tenth_of_mixed_lengths_is_padding(
    shortest: int, longest: int, max_length: int
) -> None:
    rows = rows_of(some_examples(600, shortest, longest), max_length=max_length)

    assert 0 <= rows.padding_fraction < 0.1


def test_padding_fraction_counts_the_zeros() -> None:
    rows = rows_of(some_examples(100, 5, 60), rows_per_batch=1)
    segments = np.concatenate([rows.batch(step)["segment_ids"] for step in range(len(rows.rows))])

    assert rows.padding_fraction == pytest.approx(float((segments == 0).mean()))


def test_every_example_is_in_exactly_one_row_that_it_fits() -> None:
    random = Random(1)
    lengths = [random.randint(1, 50) for _ in range(500)]
    rows = pack(lengths, 50, seed=0)

    assert sorted(index for row in rows for index in row) == list(range(500))
    assert max(sum(lengths[index] for index in row) for row in rows) <= 50


def test_no_row_is_left_emptier_than_it_must_be() -> None:
    # Longest first would put 60 with 40 and leave 50 + 30 = 80; here two rows are full.
    assert sorted(sorted(row) for row in pack([60, 50, 50, 40], 100, seed=0)) == [[0, 3], [1, 2]]


def test_a_batch_holds_whole_examples_with_their_own_positions_and_targets() -> None:
    examples = some_examples(50, 5, 40)
    by_first_token = {example.tokens[0]: example for example in examples}
    batch = rows_of(examples).batch(0)

    assert {name: array.dtype for name, array in batch.items()} == {
        "tokens": np.int32,
        "positions": np.int32,
        "segment_ids": np.int32,
        "loss_mask": np.bool_,
    }
    for row in range(3):
        segments = batch["segment_ids"][row]
        assert segments.max() > 1
        for segment in range(1, segments.max() + 1):
            inside = segments == segment
            tokens = batch["tokens"][row][inside]
            example = by_first_token[tokens[0]]
            assert tokens.tolist() == example.tokens
            assert batch["positions"][row][inside].tolist() == list(range(len(tokens)))
            targets = tokens[batch["loss_mask"][row][inside]]
            assert targets.tolist() == example.tokens[example.prompt_length :]
        padding = segments == 0
        for name in ("tokens", "positions", "loss_mask"):
            assert not batch[name][row][padding].any()


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    examples = some_examples(50, 5, 40)
    rows, again = rows_of(examples), rows_of(examples)
    for step in (0, 40, 7):
        rows.batch(step)

    assert all(np.array_equal(rows.batch(7)[key], again.batch(7)[key]) for key in again.batch(7))
    other = rows_of(examples, seed=6)
    assert not np.array_equal(rows.batch(7)["tokens"], other.batch(7)["tokens"])


def test_every_epoch_has_every_example_once_in_another_order() -> None:
    examples = some_examples(40, 5, 40)
    rows = rows_of(examples, rows_per_batch=1)
    epochs = []
    for epoch in range(2):
        steps = range(epoch * len(rows.rows), (epoch + 1) * len(rows.rows))
        tokens = np.concatenate([rows.batch(step)["tokens"].ravel() for step in steps])
        epochs.append([token // 1000 for token in tokens if token and token % 1000 == 0])

    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(1, 41))
    assert epochs[0] != epochs[1]


def test_a_batch_at_the_end_of_an_epoch_goes_on_with_the_next() -> None:
    examples = some_examples(40, 5, 40)
    whole, single = rows_of(examples, rows_per_batch=4), rows_of(examples, rows_per_batch=1)
    step = len(whole.rows) // 4
    assert len(whole.rows) % 4, "the case needs a remainder"
    expected = [single.batch(4 * step + place)["tokens"][0] for place in range(4)]

    assert np.array_equal(whole.batch(step)["tokens"], expected)
    assert whole.steps_per_epoch == step + 1
    assert whole.epoch_of(step) < 1 < whole.epoch_of(step + 1)


def test_without_packing_each_example_has_its_row() -> None:
    rows = rows_of(some_examples(10, 5, 40), packing=False)

    assert len(rows.rows) == 10
    assert rows.batch(0)["segment_ids"].max() == 1


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(ValueError, match="no examples"):
        rows_of([])
    with pytest.raises(ValueError, match="longer than 64"):
        rows_of(some_examples(1, 65, 65))
    with pytest.raises(ValueError, match="no completion"):
        TokenizedExample([1, 2, 3], prompt_length=3, example_id="a")
