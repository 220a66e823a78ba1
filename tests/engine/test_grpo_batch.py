from itertools import groupby, pairwise

import numpy as np
import pytest

from reasoning_lab.engine.grpo_batch import Group, Rows, RowShape, loss_weights, pack_groups

SHAPE = RowShape(micro_batches=3, rows=2, length=24)


def random_groups(
    rng: np.random.Generator, count: int, copies: int, prompt: int, completion: int
) -> list[Group]:
    """Every token another number, so that each can be told from the others."""
    numbers = iter(range(1, 1_000_000))

    def tokens(longest: int) -> list[int]:
        return [next(numbers) for _ in range(rng.integers(1, longest + 1))]

    return [(tokens(prompt), [tokens(completion) for _ in range(copies)]) for _ in range(count)]


def flat(rows: Rows) -> dict[str, np.ndarray]:
    """The arrays with micro-batches one after another, [rows, length]."""
    return {name: x.reshape(-1, x.shape[-1]) for name, x in rows.arrays.items()}


def visible_before(arrays: dict[str, np.ndarray], row: int, place: int) -> list[int]:
    """What the token in a place sees of its row, itself included, by the rules of hidden_states."""
    segments, branches = arrays["segment_ids"][row], arrays["branch_ids"][row]
    seen = (segments == segments[place]) & (np.arange(len(segments)) <= place)
    seen &= (branches == 0) | (branches == branches[place])
    return np.flatnonzero(seen).tolist()


@pytest.fixture
def groups() -> list[Group]:
    return random_groups(np.random.default_rng(0), count=4, copies=3, prompt=8, completion=6)


def test_each_completion_sees_its_prompt_and_itself_and_nothing_else(groups: list[Group]) -> None:
    rows = pack_groups(groups, SHAPE)
    arrays = flat(rows)
    expected = [(prompt, completion) for prompt, all_of in groups for completion in all_of]
    assert len(rows.places) == len(expected)
    for (prompt, completion), (row, start, end) in zip(expected, rows.places, strict=True):
        assert arrays["tokens"][row, start:end].tolist() == completion
        seen = visible_before(arrays, row, end - 1)
        assert arrays["tokens"][row, seen].tolist() == [*prompt, *completion]
        assert arrays["positions"][row, seen].tolist() == list(range(len(seen)))


def test_predictors_point_to_the_token_before(groups: list[Group]) -> None:
    rows = pack_groups(groups, SHAPE)
    arrays = flat(rows)
    for row, start, end in rows.places:
        seen = visible_before(arrays, row, end - 1)
        count = end - start
        assert arrays["predictors"][row, start:end].tolist() == seen[-count - 1 : -1]


def test_every_token_of_completions_is_under_the_mask_once_and_no_other(
    groups: list[Group],
) -> None:
    arrays = flat(pack_groups(groups, SHAPE))
    masked = arrays["tokens"][arrays["mask"]].tolist()
    everything = [token for _, all_of in groups for tokens in all_of for token in tokens]
    assert sorted(masked) == sorted(everything)


def test_padding_is_zero_in_every_array(groups: list[Group]) -> None:
    arrays = flat(pack_groups(groups, SHAPE))
    padding = arrays["segment_ids"] == 0
    assert padding.any()
    assert not any(x[padding].any() for x in arrays.values())


def test_segments_of_a_row_are_not_mistaken_for_each_other() -> None:
    """Two short groups share a row; their branches have the same numbers."""
    arrays = flat(pack_groups([([1, 2], [[3], [4]]), ([5], [[6, 7], [8]])], SHAPE))
    assert arrays["segment_ids"][0, :9].tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 0]
    assert arrays["branch_ids"][0, :9].tolist() == [0, 0, 1, 2, 0, 1, 1, 2, 0]
    assert arrays["tokens"][0, :9].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 0]


def test_a_group_longer_than_a_row_goes_on_in_the_next_with_its_prompt_again() -> None:
    prompt = [1, 2, 3, 4]
    group = (prompt, [[10 * i + j for j in range(7)] for i in range(1, 6)])
    rows = pack_groups([group], SHAPE)
    arrays = flat(rows)
    assert [row for row, _, _ in rows.places] == [0, 0, 1, 1, 2]
    for row in range(3):
        assert arrays["tokens"][row, :4].tolist() == prompt
        assert not arrays["mask"][row, :4].any()
    assert rows.used == 2
    assert not arrays["tokens"][3:].any()


def test_a_prompt_stands_once_in_a_row_that_holds_all_its_completions() -> None:
    arrays = flat(pack_groups([([7, 8, 9], [[i] * 4 for i in range(1, 6)])], SHAPE))
    assert (arrays["tokens"] == 9).sum() == 1
    assert (arrays["segment_ids"][0] > 0).sum() == 3 + 5 * 4


def test_a_row_may_be_filled_to_the_last_place() -> None:
    rows = pack_groups([([1] * 10, [[2] * 14]), ([1] * 10, [[2] * 7, [3] * 7])], SHAPE)
    assert rows.places == ((0, 10, 24), (1, 10, 17), (1, 17, 24))
    assert rows.used == 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6])
def test_used_micro_batches_are_those_that_hold_anything(count: int) -> None:
    rows = pack_groups([([1] * 10, [[2] * 14])] * count, SHAPE)
    holds = rows.arrays["segment_ids"].any(axis=(1, 2))
    assert holds.tolist() == [i < rows.used for i in range(3)]


@pytest.mark.parametrize("seed", range(150))
def test_the_shape_of_a_step_is_always_enough(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, copies, prompt, completion, at_once = (int(rng.integers(1, n)) for n in (6, 9, 9, 9, 5))
    shape = RowShape.for_step(
        groups=groups,
        num_generations=copies,
        max_prompt_length=prompt,
        max_completion_length=completion,
        row_length=prompt + completion + int(rng.integers(0, 30)),
        rows_at_once=at_once,
    )
    longest = [([1] * prompt, [[2] * completion] * copies)] * groups
    mixed = random_groups(rng, groups, copies, prompt, completion)
    for packed in (longest, mixed, longest[:1] + mixed[1:]):
        rows = pack_groups(packed, shape)
        assert len(rows.places) == groups * copies
        assert rows.used <= shape.micro_batches


def test_the_shape_of_a_step_is_no_larger_than_the_longest_need() -> None:
    shape = RowShape.for_step(
        groups=3,
        num_generations=4,
        max_prompt_length=10,
        max_completion_length=7,
        row_length=24,
        rows_at_once=2,
    )
    assert shape == RowShape(3, 2, 24)
    assert pack_groups([([1] * 10, [[2] * 7] * 4)] * 3, shape).used == 3


def test_rows_too_short_for_a_prompt_and_a_completion_are_refused() -> None:
    with pytest.raises(ValueError, match="rows of 16 tokens do not hold a prompt of 10"):
        RowShape.for_step(
            groups=1,
            num_generations=1,
            max_prompt_length=10,
            max_completion_length=7,
            row_length=16,
            rows_at_once=1,
        )


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([([1] * 10, [[2] * 15])], "25 tokens do not fit"),
        ([([1] * 10, [[2], [2] * 15])], "25 tokens do not fit"),
        ([([1] * 10, [[2] * 14])] * 7, "6 rows of 24"),
    ],
    ids=["too-long", "too-long-behind-another", "too-many"],
)
def test_what_does_not_fit_is_an_error(groups: list[Group], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack_groups(groups, SHAPE)


def test_spreading_and_summing_undo_each_other(groups: list[Group]) -> None:
    rows = pack_groups(groups, SHAPE)
    lengths = np.array([len(tokens) for _, all_of in groups for tokens in all_of])
    values = np.random.default_rng(1).normal(0, 1, len(lengths))
    spread = rows.spread(values)
    assert spread.shape == rows.arrays["tokens"].shape
    assert not spread[~rows.arrays["mask"]].any()
    np.testing.assert_allclose(rows.sum_of_completions(spread), values * lengths, rtol=1e-6)
    np.testing.assert_allclose(
        rows.sum_of_completions(rows.spread(values / lengths)), values, rtol=1e-6
    )


def test_values_of_tokens_lie_where_the_tokens_lie(groups: list[Group]) -> None:
    rows = pack_groups(groups, SHAPE)
    tokens = [tokens for _, all_of in groups for tokens in all_of]
    spread = rows.spread_tokens(tokens)
    np.testing.assert_array_equal(spread, rows.arrays["tokens"] * rows.arrays["mask"])


def test_values_for_another_number_of_completions_are_refused(groups: list[Group]) -> None:
    with pytest.raises(ValueError, match="zip"):
        pack_groups(groups, SHAPE).spread([1.0, 2.0])


LENGTHS = np.array([1, 2, 5, 12])


def test_sequence_mean_weighs_all_completions_alike() -> None:
    total = loss_weights(LENGTHS, "sequence_mean", 12) * LENGTHS
    np.testing.assert_allclose(total, 1 / 4)


def test_token_mean_weighs_all_tokens_alike() -> None:
    weights = loss_weights(LENGTHS, "token_mean", 12)
    assert len(set(weights)) == 1
    np.testing.assert_allclose((weights * LENGTHS).sum(), 1)


def test_constant_weighs_a_token_the_same_whatever_the_lengths() -> None:
    weights = loss_weights(LENGTHS, "constant", 12)
    np.testing.assert_allclose(weights, 1 / (4 * 12))
    np.testing.assert_array_equal(weights, loss_weights(LENGTHS[::-1] + 3, "constant", 12))


@pytest.mark.parametrize("aggregation", ["sequence_mean", "token_mean", "constant"])
def test_completions_without_tokens_divide_by_nothing(aggregation: str) -> None:
    with np.errstate(all="raise"):
        assert np.isfinite(loss_weights(np.array([0, 0]), aggregation, 4)).all()


def test_groups_of_a_step_stay_in_order(groups: list[Group]) -> None:
    places = pack_groups(groups, SHAPE).places
    assert list(places) == sorted(places)
    for _, in_row in groupby(places, key=lambda place: place[0]):
        ends = list(in_row)
        assert all(a[2] <= b[1] for a, b in pairwise(ends))
