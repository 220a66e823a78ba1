"""The search over sizes, with plans whose memory is a formula."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from reasoning_lab.experiment import Experiment, compose
from reasoning_lab.hardware.machines import GIB, machine
from reasoning_lab.preflight import wording
from reasoning_lab.preflight.fit import Fit, Question, answer, changed, fit
from reasoning_lab.preflight.show_fit import conclusions, markdown

BUDGET = machine("tpu_v5e").memory_budget / GIB


class Planner:
    """Plans with a peak in GiB that `memory` computes for each phase; counts what it is asked."""

    def __init__(self, memory: Any, *, seconds: float = 2.0) -> None:
        self.memory = memory
        self.seconds = seconds
        self.asked: list[Experiment] = []

    def __call__(self, experiment: Experiment) -> Any:
        self.asked.append(experiment)
        budget, margin = BUDGET, experiment.plan.margin
        programs = [
            SimpleNamespace(
                phase=phase,
                peak=peak * GIB,
                refused=peak > 10 * budget,
                verdict="fits" if peak <= (1 - margin) * budget else "does not fit",
            )
            for phase, peak in self.memory(experiment).items()
        ]
        steps = getattr(experiment.stage, "max_steps", None)
        stage = SimpleNamespace(
            steps=SimpleNamespace(count=steps),
            step_floor=self.seconds,
            expected_step_seconds=None,
        )
        return SimpleNamespace(
            experiment=experiment,
            machine=machine("tpu_v5e"),
            programs=programs,
            stages=[stage],
            seconds=None if steps is None else steps * self.seconds + 100,
            expected_seconds=None,
            versions={"jax": "0"},
        )


AS_GIVEN = [
    *("experiment=gsm8k_grpo_home", "hardware=tpu_v5e8"),
    *("hardware.rows_per_micro_batch=1", "hardware.generation_batch_size=64"),
]
GRPO = compose(AS_GIVEN)
SFT = compose(["experiment=glaive_sft", "hardware=tpu_v5e8", "stage.max_steps=1000"])


def grpo_memory(experiment: Experiment) -> dict[str, float]:
    hardware, stage = experiment.hardware, experiment.stage
    kept = 1.0 if hardware.remat else 30.0
    longest = stage.max_completion_length / 512  # type: ignore[attr-defined]
    return {
        "GRPO step": 2 + kept * hardware.rows_per_micro_batch * longest,
        "rollout": 1 + hardware.generation_batch_size / 8 * longest,
    }


def sizes(found: Fit) -> dict[str, int | None]:
    return {size.key: size.largest for size in (*found.speed, *found.learning)}


def test_the_largest_sizes_are_found_and_named_as_overrides() -> None:
    found = fit(GRPO, Planner(grpo_memory))
    # 15% of 15.75 GiB stay free: 13.4. 2 + 8 x 1 fits, 2 + 16 does not; 1 + 64 / 8 fits.
    assert sizes(found) == {
        "hardware.rows_per_micro_batch": 8,
        "hardware.generation_batch_size": 64,
        "stage.max_completion_length": 4096,
        "stage.num_generations": 64,
    }
    assert found.overrides[:2] == (
        "hardware.rows_per_micro_batch=8",
        "hardware.generation_batch_size=64",
    )
    composed = compose([*AS_GIVEN, *found.overrides])
    assert composed.hardware.rows_per_micro_batch == 8


def test_activations_are_kept_where_the_memory_holds_them() -> None:
    def roomy(experiment: Experiment) -> dict[str, float]:
        return {"SFT step": 1.0, "evaluation": 1.0}

    assert "hardware.remat=false" in fit(SFT, Planner(roomy)).overrides
    assert not any("remat" in text for text in fit(GRPO, Planner(grpo_memory)).overrides)


def test_the_session_is_filled_but_for_the_margin() -> None:
    found = fit(GRPO, Planner(grpo_memory, seconds=3.5))
    assert found.filling is not None
    step = 3.5 / GRPO.plan.efficiency
    assert found.filling.step_seconds == pytest.approx(step)
    used = found.filling.steps * step + 100 / GRPO.plan.efficiency
    assert 0.85 * 9 * 3600 - step < used <= 0.85 * 9 * 3600
    assert f"stage.max_steps={found.filling.steps}" in found.overrides
    assert f"{found.filling.steps * 8 * 8:,} completions" in conclusions(found)[-1]


def test_a_session_without_end_leaves_the_steps_alone() -> None:
    home = dataclasses.replace(GRPO.hardware, time_limit_hours=None)
    found = fit(dataclasses.replace(GRPO, hardware=home), Planner(grpo_memory))
    assert found.filling is None
    assert not any("max_steps" in text for text in found.overrides)


def test_what_never_fits_is_said() -> None:
    def huge(experiment: Experiment) -> dict[str, float]:
        return {"SFT step": 20.0, "evaluation": 1.0}

    found = fit(SFT, Planner(huge))
    assert sizes(found)["hardware.rows_per_micro_batch"] is None
    assert "hardware.rows_per_micro_batch=1" in found.overrides


@pytest.mark.parametrize("slope", [0.01, 0.3, 1.0, 6.0, 50.0])
@pytest.mark.parametrize("curve", [1.0, 1.7], ids=["straight", "bent"])
def test_few_tries_find_the_edge(slope: float, curve: float) -> None:
    def memory(experiment: Experiment) -> dict[str, float]:
        return {"SFT step": 1 + slope * experiment.hardware.rows_per_micro_batch**curve}

    planner = Planner(memory)
    candidates = tuple(range(1, 129))
    question = Question(
        key="hardware.rows_per_micro_batch", candidates=candidates, phases=("SFT step",)
    )
    size = answer(question, SFT, planner)
    room = (0.85 * BUDGET - 1) / slope
    fitting = [n for n in candidates if n**curve <= room]
    assert size.largest == (fitting[-1] if fitting else None)
    assert len(planner.asked) <= (5 if curve == 1 else 12)


def test_changes_that_do_not_go_together_are_refused_and_skipped() -> None:
    """A group must divide over the devices, so not every number of completions is tried."""
    planner = Planner(grpo_memory)
    fit(GRPO, planner)
    for experiment in planner.asked:
        assert experiment.hardware.generation_batch_size % 8 == 0
    assert changed(SFT, {"stage.max_length": 2048, "stage.batch_tokens": 65536}).stage != SFT.stage


def test_the_page_says_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("title", "how"):
        monkeypatch.setattr(wording, name, lambda plan, name=name: f"{name} of the plan")
    monkeypatch.setattr(wording, "conclusions", lambda plan: ["Memory: fits."])
    page = markdown(fit(GRPO, Planner(grpo_memory)), "python launch.py mode=fit")
    assert page.startswith(
        "# What fits: title of the plan\n\n```sh\npython launch.py mode=fit\n```\n"
    )
    assert "| hardware.rows_per_micro_batch | 1 | 8 | 10.00 |" in page
    assert "\nhardware.rows_per_micro_batch=8 hardware.generation_batch_size=64 stage" in page
    assert "- Memory: fits." in page
