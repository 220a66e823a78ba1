from collections import Counter

import pytest

from reasoning_lab.data.example import Example
from reasoning_lab.data.prompts import ProblemBatches

PROBLEMS = [Example(str(i), "s", "d", f"q{i}", None, str(i), "") for i in range(10)]


def ids(examples: list[Example]) -> list[str]:
    return [example.id for example in examples]


def batches(seed: int = 0, batch_size: int = 4) -> ProblemBatches:
    return ProblemBatches(PROBLEMS, batch_size=batch_size, seed=seed)


def stream(problems: ProblemBatches, steps: int) -> list[str]:
    return [name for step in range(steps) for name in ids(problems.batch(step))]


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    forwards = [batches().batch(step) for step in range(12)]
    used = batches()
    backwards = {step: used.batch(step) for step in reversed(range(12))}
    used.spare(3, 0)
    assert [backwards[step] for step in range(12)] == forwards
    assert used.batch(5) == forwards[5]
    assert stream(batches(seed=1), 5) != stream(batches(), 5)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 23])
def test_every_problem_comes_once_an_epoch_also_where_epochs_end_within_batches(
    batch_size: int,
) -> None:
    names = stream(batches(batch_size=batch_size), -(-50 // batch_size))[:50]
    epochs = [names[start : start + 10] for start in range(0, 50, 10)]
    everything = {example.id for example in PROBLEMS}
    assert all(len(epoch) == 10 and set(epoch) == everything for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 5


def test_the_stream_does_not_depend_on_how_it_is_cut_into_batches() -> None:
    assert stream(batches(batch_size=4), 15) == stream(batches(batch_size=6), 10)


def test_spares_are_other_problems_than_the_batch_and_other_at_every_attempt_and_step() -> None:
    problems = batches()
    taken = [ids(problems.batch(2)), *(ids(problems.spare(2, n)) for n in range(4))]
    taken += [ids(problems.spare(3, n)) for n in range(4)]
    assert len(set(map(tuple, taken))) == len(taken)
    assert problems.spare(2, 1) == batches().spare(2, 1)
    assert problems.spare(2, 1) != batches(seed=1).spare(2, 1)


def test_the_spares_of_a_step_come_once_before_any_comes_again() -> None:
    problems = batches()
    names = [name for attempt in range(5) for name in ids(problems.spare(7, attempt))]
    assert set(Counter(names[:10]).values()) == set(Counter(names[10:]).values()) == {1}


def test_no_problems_are_refused() -> None:
    with pytest.raises(ValueError, match="no problems"):
        ProblemBatches([], batch_size=4, seed=0)
