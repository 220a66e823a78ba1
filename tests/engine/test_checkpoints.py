"""LoRA weights saved by themselves."""

from pathlib import Path

import jax
import numpy as np
from tiny_models import tiny_policy

from reasoning_lab.engine.checkpoints import restore_lora, save_lora
from reasoning_lab.engine.models import Policy


def saved(policy: Policy, folder: Path) -> tuple[int, list[np.ndarray]]:
    """The step that a folder holds, and its weights."""
    step = restore_lora(policy, folder)
    return step, [np.asarray(leaf) for leaf in jax.tree.leaves(policy.params)]


def test_a_later_save_replaces_the_one_before(tmp_path: Path) -> None:
    save_lora(tiny_policy(seed=1), tmp_path / "best", 0)
    second = tiny_policy(seed=2)
    save_lora(second, tmp_path / "best", 20)
    step, weights = saved(tiny_policy(seed=3), tmp_path / "best")
    assert step == 20
    for ours, theirs in zip(weights, jax.tree.leaves(second.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_step_is_saved_again_when_a_resumed_run_comes_to_it_again(tmp_path: Path) -> None:
    save_lora(tiny_policy(seed=1), tmp_path / "best", 20)
    again = tiny_policy(seed=2)
    save_lora(again, tmp_path / "best", 20)
    step, weights = saved(tiny_policy(seed=3), tmp_path / "best")
    assert step == 20
    for ours, theirs in zip(weights, jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
