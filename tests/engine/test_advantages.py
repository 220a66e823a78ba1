import numpy as np
import pytest
from tunix.rl.algo_core import compute_advantages

from reasoning_lab.engine.advantages import Groups, count_groups, group_advantages, is_dead

_EPSILON = 1e-4


def awkward_reward(G: int) -> float:
    """A sum of rewards such that the mean of G of them is not that sum in floating point."""
    candidates = [0.1 * a + 0.2 * b for a in range(1, 20) for b in range(1, 20)]
    return next(x for x in candidates if np.full((1, G), x).mean(axis=1)[0] != x)


@pytest.mark.parametrize("G", [3, 6, 7])
@pytest.mark.parametrize("normalise_by_std", [False, True])
def test_a_dead_group_is_exactly_zero_though_its_mean_is_rounded(
    G: int, normalise_by_std: bool
) -> None:
    rewards = np.array([np.full(G, awkward_reward(G)), np.arange(G) / 10])
    assert (rewards[0] != rewards[0].mean()).all()
    advantages = group_advantages(rewards, normalise_by_std=normalise_by_std)
    assert (advantages[0] == 0).all()
    assert (advantages[1] != 0).sum() >= G - 1


def test_tunix_makes_a_signal_of_a_dead_group() -> None:
    """So advantages are our own, and the std is divided by with an epsilon like TRL's."""
    values = [0.1 * a + 0.2 * b for a in range(1, 20) for b in range(1, 20)]
    rewards = np.repeat(np.float32(values), 7)
    theirs = compute_advantages(rewards, 7)
    assert abs(theirs).max() > 0.01
    assert not group_advantages(rewards.reshape(-1, 7), normalise_by_std=True).any()


def test_live_groups_are_those_of_tunix_but_for_epsilon() -> None:
    rewards = np.random.default_rng(0).normal(0, 1, (5, 8))
    ours = group_advantages(rewards, normalise_by_std=True)
    np.testing.assert_allclose(ours.ravel(), compute_advantages(rewards.ravel(), 8), rtol=1e-3)


def test_normalised_advantages_have_mean_zero_and_sample_deviation_one() -> None:
    rewards = np.random.default_rng(0).normal(3, [[0.5], [2.0], [70.0]], (3, 6))
    advantages = group_advantages(rewards, normalise_by_std=True)
    np.testing.assert_allclose(advantages.mean(axis=1), 0, atol=1e-12)
    spread = rewards.std(axis=1, ddof=1)
    np.testing.assert_allclose(advantages.std(axis=1, ddof=1), spread / (spread + _EPSILON))


def test_without_normalisation_advantages_are_differences_from_the_mean_of_their_group() -> None:
    advantages = group_advantages([[1, 2, 6], [10, 10, 40]], normalise_by_std=False)
    np.testing.assert_allclose(advantages, [[-2, -1, 3], [-10, -10, 20]])


def test_the_rewards_handed_in_stay_as_they_were() -> None:
    rewards = np.array([[1.0, 2.0], [3.0, 3.0]])
    group_advantages(rewards, normalise_by_std=True)
    assert rewards.tolist() == [[1, 2], [3, 3]]


def test_a_group_that_differs_in_the_last_bit_is_alive() -> None:
    rewards = np.array([[0.3, 0.3], [0.3, np.nextafter(0.3, 1)]])
    assert is_dead(rewards).tolist() == [True, False]


def test_dead_groups_are_counted_by_why_they_are_dead() -> None:
    rewards = np.array(
        [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0.5, 0.5, 0.5], [1, 0, 1], [1, 0.9, 1], [0, 0.1, 0]]
    )
    correct = np.array(
        [[1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 0, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]], float
    )
    groups = count_groups(rewards, correct)
    assert groups == Groups(count=7, all_right=2, all_wrong=1, all_equal=1)
    assert groups.dead == 4
    undecided = count_groups(rewards, np.full(rewards.shape, np.nan))
    assert undecided == Groups(count=7, all_right=0, all_wrong=0, all_equal=4)
