from collections.abc import Callable
from random import Random

import pytest

from reasoning_lab.evaluation.health import Health

Metrics = dict[str, float]


def healthy(step: int, random: Random) -> Metrics:
    """A run that learns: more right answers, less entropy, some KL, and all of it noisy."""
    learned = step / (step + 40)
    correct = min(1.0, max(0.0, 0.35 + 0.4 * learned + random.gauss(0, 0.07)))
    return {
        "groups/dead": min(1.0, max(0.0, 0.4 + random.gauss(0, 0.15))),
        "groups/all_right": correct**4,
        "groups/all_wrong": (1 - correct) ** 4,
        "groups/all_equal": 0.3,
        "completion/length": 60 + 20 * learned + random.gauss(0, 6),
        "completion/truncated": max(0.0, random.gauss(0.1, 0.1)),
        "train/kl": 0.25 * learned * random.lognormvariate(0, 0.4),
        "train/clip_fraction": max(0.0, random.gauss(0.02, 0.02)),
        "train/entropy": 0.4 - 0.25 * learned + random.gauss(0, 0.02),
        "train/grad_norm": random.lognormvariate(-1, 0.5),
        "rollout/correct": correct,
        "reward/total": correct + 0.9 + 0.1 * learned + random.gauss(0, 0.03),
        "reward/correct": correct,
        "reward/format": 0.9 + 0.1 * learned,
    }


def warnings(change: Callable[[int, Metrics], Metrics], *, steps: int = 100) -> list[str]:
    """All that is said of a run that would be healthy but for what `change` overwrites."""
    health, random, said = Health(), Random(0), []
    for step in range(1, steps + 1):
        metrics = healthy(step, random)
        said += health.observe(step, metrics | change(step, metrics))
    return said


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_said_of_a_healthy_noisy_run(seed: int) -> None:
    health, random = Health(), Random(seed)
    assert [text for n in range(1, 101) for text in health.observe(n, healthy(n, random))] == []


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_said_of_answers_that_stay_as_right_while_the_format_improves(
    seed: int,
) -> None:
    health, random, said = Health(), Random(seed), []
    for step in range(1, 101):
        correct = 0.5 + random.gauss(0, 0.08)
        metrics = {"rollout/correct": correct, "reward/total": correct + step / 100}
        said += health.observe(step, metrics)
    assert said == []


DEAD = {"groups/dead": 1.0, "groups/all_right": 0.0, "groups/all_wrong": 0.0}


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (
            lambda step, _: DEAD | {"groups/all_wrong": 1.0, "train/grad_norm": 0.0},
            ["groups/dead=1", "groups/all_wrong=1.00", "init_from=RUN", "easier", "data=NAME"],
        ),
        (
            lambda step, _: DEAD | {"groups/all_right": 1.0},
            ["groups/dead=1", "groups/all_right=1.00", "harder", "data=NAME"],
        ),
        (
            lambda step, _: DEAD,
            ["groups/dead=1", "stage.temperature", "stage.num_generations"],
        ),
        (
            lambda step, _: {"completion/length": 60.0 + 2 * step},
            ["completion/length=", "against 71", "stage.beta", "stage.max_completion_length"],
        ),
        (
            lambda step, _: {"completion/length": max(5.0, 60.0 - step)},
            ["completion/length=", "against 54", "stage.beta", "stage.learning_rate"],
        ),
        (
            lambda step, _: {"completion/truncated": 0.6},
            ["completion/truncated=0.60", "stage.max_completion_length", "init_from=RUN"],
        ),
        (
            lambda step, _: {"train/kl": 0.001 * 1.1**step},
            ["train/kl=0.5", "nats per token", "stage.beta", "stage.learning_rate"],
        ),
        (
            lambda step, _: {"train/clip_fraction": 0.4},
            ["train/clip_fraction=0.40", "stage.learning_rate"],
        ),
        (
            lambda step, _: {"train/entropy": 0.4 * 0.9**step},
            ["train/entropy=", "stage.temperature", "stage.beta"],
        ),
        (
            lambda step, _: {"train/grad_norm": 0.0},
            ["train/grad_norm=0", "stage.num_generations"],
        ),
        (
            lambda step, metrics: (
                {}
                if step < 40
                else {
                    "rollout/correct": metrics["rollout/correct"] - (step - 40) / 100,
                    "reward/total": metrics["reward/total"] + (step - 40) / 100,
                }
            ),
            ["reward/total=", "up from", "rollout/correct=", "down from", "stage.beta"],
        ),
    ],
    ids=[
        "all wrong",
        "all right",
        "all alike",
        "longer",
        "shorter",
        "truncated",
        "KL",
        "clipped",
        "entropy",
        "gradient",
        "hacking",
    ],
)
def test_each_trouble_is_said_once_with_key_value_and_remedy(
    change: Callable[[int, Metrics], Metrics], parts: list[str]
) -> None:
    [said] = warnings(change)
    assert said.startswith("step ")
    for part in parts:
        assert part in said


def test_a_trouble_is_told_again_once_it_was_gone() -> None:
    def cut_off(step: int, _: Metrics) -> Metrics:
        return {"completion/truncated": 0.9 if step < 20 or step > 60 else 0.0}

    first, second = warnings(cut_off)
    assert first.startswith("step 5:")
    assert second.startswith("step 63:")


def test_a_trouble_that_flickers_is_told_once() -> None:
    assert len(warnings(lambda step, _: {"completion/truncated": float(step % 8 < 5)})) == 1


def test_a_single_odd_step_is_no_trouble() -> None:
    def odd(step: int, _: Metrics) -> Metrics:
        is_odd = {"groups/dead": 1.0, "train/grad_norm": 0.0, "completion/truncated": 1.0}
        return is_odd if step == 50 else {}

    assert warnings(odd) == []


def test_a_high_but_steady_kl_is_told_only_when_it_is_reached() -> None:
    said = warnings(lambda step, _: {"train/kl": min(0.8, 0.02 * step)}, steps=300)
    assert len(said) == 1


def test_missing_and_infinite_metrics_are_no_trouble() -> None:
    health = Health()
    for step in range(1, 40):
        assert health.observe(step, {}) == []
        assert health.observe(step, {"train/kl": float("nan"), "x": float("inf")}) == []


def of_domains(change: Callable[[int], Metrics], *, seed: int = 0, steps: int = 80) -> list[str]:
    """What is said of a run of three domains that all improve but for what `change` adds."""
    health, random, said = Health(), Random(seed), []
    for step in range(1, steps + 1):
        metrics = healthy(step, random)
        for domain in ("math", "code", "short stories"):
            metrics[f"domain/{domain}/reward"] = 0.4 + 0.3 * step / steps
            metrics[f"domain/{domain}/well_formed"] = 0.9
        metrics = {key: value + metrics.get(key, 0.0) for key, value in change(step).items()} | {
            key: value for key, value in metrics.items() if key not in change(step)
        }
        noisy = {
            key: value + random.gauss(0, 0.05) if key.startswith("domain/") else value
            for key, value in metrics.items()
        }
        said += health.observe(step, noisy)
    return said


@pytest.mark.parametrize("metric", ["reward", "well_formed"])
def test_a_domain_that_collapses_while_others_improve_is_named(metric: str) -> None:
    key = f"domain/short stories/{metric}"
    [told] = of_domains(lambda step: {key: -0.9 * step / 80})
    assert "short stories collapses" in told
    assert key in told
    assert "while code improved" in told or "while math" in told
    assert "data.weights" in told


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_said_of_domains_that_all_improve_or_are_now_and_then_absent(seed: int) -> None:
    assert of_domains(lambda step: {}, seed=seed) == []
    assert (
        of_domains(lambda step: {"domain/chess/reward": 0.5} if step % 3 else {}, seed=seed) == []
    )
