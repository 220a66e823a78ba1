"""Shares of domains: what weights and temperature ask for, and what an adaptive mix does."""

from collections import Counter

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Example
from reasoning_lab.data.prompts import ProblemBatches
from reasoning_lab.data.shares import Shares, base_shares, cut_to_shares, live_shares
from reasoning_lab.data.sources.running_sum import RunningSum
from reasoning_lab.data.specs import DataSpec

SIZES = {"math": 60, "code": 30, "stories": 10}
PROBLEMS = [
    Example(f"{domain} {n}", domain, domain, f"{domain} {n}?", None, "", "")
    for domain, size in SIZES.items()
    for n in range(size)
]


def spec(**settings: object) -> DataSpec:
    return DataSpec(sources={"any": RunningSum()}, **settings)  # type: ignore[arg-type]


def batches(data: DataSpec, seed: int = 0, size: int = 8) -> ProblemBatches:
    shares = Shares.of(data, PROBLEMS)
    return ProblemBatches(PROBLEMS, batch_size=size, seed=seed, shares=shares)


def test_shares_are_those_of_the_problems_of_the_weights_or_of_neither() -> None:
    assert base_shares(spec(), PROBLEMS) == {"math": 0.6, "code": 0.3, "stories": 0.1}
    weights = {"stories": 2.0, "math": 1.0, "code": 1.0}
    assert base_shares(spec(weights=weights), PROBLEMS) == pytest.approx(
        {"math": 0.25, "code": 0.25, "stories": 0.5}
    )
    warm = base_shares(spec(temperature=2.0), PROBLEMS)
    assert warm["math"] / warm["stories"] == pytest.approx(6**0.5)
    assert base_shares(spec(temperature=1e6), PROBLEMS) == pytest.approx(
        dict.fromkeys(SIZES, 1 / 3), rel=1e-4
    )


@pytest.mark.parametrize("weights", [{"math": 1.0}, {**dict.fromkeys(SIZES, 1.0), "chess": 1.0}])
def test_weights_must_name_all_domains_and_no_other(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"code has no weight|chess has no training") as error:
        base_shares(spec(weights=weights), PROBLEMS)
    assert "The domains are math, code, stories" in str(error.value)


def test_training_examples_are_left_out_until_the_shares_are_right() -> None:
    even = cut_to_shares(spec(weights=dict.fromkeys(SIZES, 1.0)), PROBLEMS)
    assert Counter(example.domain for example in even) == dict.fromkeys(SIZES, 10)
    assert even[:10] == tuple(PROBLEMS[:10])
    assert cut_to_shares(spec(), PROBLEMS) == tuple(PROBLEMS)
    same = cut_to_shares(spec(weights={k: float(v) for k, v in SIZES.items()}), PROBLEMS)
    assert same == tuple(PROBLEMS)  # nothing is lost to rounding


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    data = spec(temperature=2.0)
    one, other = batches(data), batches(data)
    late = other.batch(9)  # asked out of order
    assert [one.batch(step) for step in range(10)][9] == late
    assert [other.batch(step) for step in range(9)] == [one.batch(step) for step in range(9)]
    assert batches(data, seed=1).batch(9) != late
    assert one.spare(3, 1) == other.spare(3, 1)
    assert one.spare(3, 1) != one.spare(3, 0)


def test_every_domain_gets_its_share_of_every_batch_and_goes_round_its_problems() -> None:
    data = spec(weights={"math": 1.0, "code": 2.0, "stories": 5.0})
    stream = batches(data)
    seen: Counter[str] = Counter()
    for step in range(40):
        batch = stream.batch(step)
        assert Counter(p.domain for p in batch) == {"math": 1, "code": 2, "stories": 5}
        seen.update(problem.id for problem in batch)
    assert {seen[f"stories {n}"] for n in range(10)} == {20}
    assert max(seen[f"code {n}"] for n in range(30)) - min(seen[f"code {n}"] for n in range(30)) < 2
    odd = batches(data, size=3)
    drawn = Counter(p.domain for step in range(400) for p in odd.batch(step))
    assert drawn["stories"] == pytest.approx(3 * 400 * 5 / 8, rel=0.05)


def test_domains_are_drawn_more_often_while_they_teach_and_never_below_the_floor() -> None:
    shares = Shares.of(spec(weights=dict.fromkeys(SIZES, 1.0), adaptive=True, floor=0.1), PROBLEMS)
    assert shares is not None
    for step in range(60):
        shares.observe(step, {"math": 1.0, "code": 0.5, "stories": 0.0})
    now = shares.at(60)
    assert sum(now.values()) == pytest.approx(1)
    assert now["stories"] == pytest.approx(0.1, abs=0.01)
    assert (now["math"] - 0.1) / (now["code"] - 0.1) == pytest.approx(2, rel=0.05)
    for step in range(60, 120):  # it comes back once it teaches again
        shares.observe(step, {"math": 0.0, "stories": 1.0})
    assert shares.at(120)["stories"] > 0.5


def test_the_floor_holds_from_the_first_step_on() -> None:
    weights = {"math": 98.0, "code": 1.0, "stories": 1.0}
    shares = Shares.of(spec(weights=weights, adaptive=True, floor=0.2), PROBLEMS)
    assert shares is not None
    assert shares.at(0)["stories"] == pytest.approx(0.2 + 0.4 * 0.01)


def test_an_adaptive_stream_goes_on_after_a_restart_as_it_would_have() -> None:
    data = spec(weights=dict.fromkeys(SIZES, 1.0), adaptive=True)
    lives = [{"math": 1.0, "code": 0.25 * (step % 4), "stories": 0.0} for step in range(30)]

    def run(stream: ProblemBatches, first: int, last: int) -> list[list[Example]]:
        taken = []
        for step in range(first, last):
            taken.append(stream.batch(step))
            stream.observe(step, lives[step])
        return taken

    whole = run(batches(data), 0, 30)
    resumed = batches(data)
    for step in range(17):
        resumed.observe(step, lives[step])
    assert run(resumed, 17, 30) == whole[17:]


def test_a_floor_that_leaves_nothing_to_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.floor=0.4 for each of 3 .*=0.33 or less"):
        Shares.of(spec(adaptive=True, floor=0.4), PROBLEMS)


def test_what_teaches_is_read_from_the_metrics_of_a_step() -> None:
    metrics = {"domain/math/live": 0.5, "domain/word problems/live": 1.0, "domain/math/share": 0.1}
    assert live_shares(metrics) == {"math": 0.5, "word problems": 1.0}
