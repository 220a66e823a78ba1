"""Which runs a sweep consists of, how they are called, and what is refused before any begins."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import compose
from reasoning_lab.sweeps.plan import Request, corners, folder_of, grid, quoted, read_request

QUICK = ["experiment=quick_cpu"]


def names(*overrides: str) -> list[str]:
    return [point.name for point in grid(read_request([*QUICK, *overrides]))]


def test_a_run_is_named_by_what_differs() -> None:
    assert names("lora.rank=2,4", "seed=1,0") == [
        *("rank=2+seed=1", "rank=2+seed=0", "rank=4+seed=1", "rank=4+seed=0")
    ]
    assert names("stage.learning_rate=1e-5,1e-4", "seed=3") == [
        *("learning_rate=1e-05+seed=3", "learning_rate=0.0001+seed=3")
    ]


def test_keys_of_the_same_last_part_are_named_in_full() -> None:
    one = "data.sources.running_sum.rows=50,60"
    other = "+data/source@data.sources.more=running_sum"
    found = names(other, one, "data.sources.more.rows=50,60")
    assert found[1] == "data.sources.running_sum.rows=50+data.sources.more.rows=60+seed=0"


def test_names_never_collide() -> None:
    modules = ["[q_proj]", "[q_proj,v_proj]", "[v_proj,q_proj]"]
    found = names(f"lora.target_modules={','.join(modules)}", "lora.alpha=1,10")
    assert len(found) == len(set(found)) == 3 * 2
    for name in found:
        assert not set(name) & set("[], /'\"")


def test_what_is_too_long_for_a_name_is_told_apart_by_a_hash() -> None:
    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    orders = [
        f"[{','.join(order)}]" for order in itertools.islice(itertools.permutations(every), 3)
    ]
    found = names(
        f"lora.target_modules={','.join(orders)}",
        "stage.learning_rate=1e-4,1e-5",
        "stage.final_learning_rate_ratio=0.123456789",
        "stage.weight_decay=0.1",
    )
    assert len(found) == len(set(found)) == 6
    assert max(map(len, found)) < 200


def test_a_point_has_all_that_launch_needs() -> None:
    [point] = grid(read_request([*QUICK, "lora.rank=2", "runs_dir=/tmp/r", "sweep.name=s"]))
    assert compose(point.overrides).lora.rank == 2
    assert compose(point.overrides).run_dir == str(point.path) == "/tmp/r/sweeps/s/seed=0"
    assert compose(point.overrides).tracking.group == "s"
    assert folder_of(point.overrides).path == point.path


def test_a_group_given_is_kept() -> None:
    [point] = grid(read_request([*QUICK, "tracking.group=mine"]))
    assert compose(point.overrides).tracking.group == "mine"


@pytest.mark.parametrize(
    "text", ["a b", "it's", "1", "null", "True", "/x/rank=8+seed=0", "ü,ä", ""]
)
def test_any_text_survives_as_an_override(text: str) -> None:
    if text:
        assert compose([f"tracking.group={quoted(text)}"]).tracking.group == text


def request_of(*overrides: str) -> Request:
    return read_request([*QUICK, *overrides])


def test_a_sweep_is_called_the_same_for_other_values_and_seeds() -> None:
    one = request_of("lora.rank=2,4", "seed=0,1", "tracking=none", "sweep.retry_failed=true")
    assert one.name == request_of("lora.rank=8,16", "seed=7").name
    assert one.name.startswith("sft-rank-")
    assert one.name != request_of("lora.rank=2,4", "stage.max_steps=9").name
    assert one.name != request_of("lora.rank=2,4", "lora.alpha=1,2").name
    assert request_of("lora.rank=2,4", "sweep.name=mine").path.parts[-3:] == (
        *("runs", "sweeps", "mine"),
    )


def test_the_command_line_wins_over_a_file_in_sweeps() -> None:
    request = read_request(["sweeps=lora_kl_rollouts", "lora.rank=4", "seed=5,6"])
    assert request.name == "lora_kl_rollouts"
    assert set(request.axes) == {"stage.beta", "stage.num_generations", "seed"}
    assert request.axes["seed"].values == ("5", "6")
    assert {point.experiment.lora.rank for point in grid(request)} == {4}


def test_the_users_grid_has_every_combination_once() -> None:
    points = grid(read_request(["sweeps=lora_kl_rollouts"]))
    found = {
        (e.lora.rank, e.stage.beta, e.stage.num_generations, e.seed)  # type: ignore[attr-defined]
        for e in (point.experiment for point in points)
    }
    assert len(points) == len(found) == 24
    assert (32, 0.02, 8, 1) in found


def test_a_value_typed_twice_is_one_run() -> None:
    assert names("lora.rank=2,2") == ["rank=2+seed=0"]


def test_choices_can_be_given_by_a_pattern() -> None:
    assert names("lora=glob(*)") == ["lora=all_linear+seed=0", "lora=qv_r16+seed=0"]


def test_all_mistakes_of_all_points_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        grid(request_of("lora.rank=2,-1,900", "stage.epochs=0,1"))
    message = str(error.value)
    assert message.count("lora.rank=-1 (on the command line): must be at least 1.") == 1
    assert message.count("lora.rank=900 is over the width") == 1
    assert message.count("stage.epochs=0 (on the command line)") == 1
    assert "in 2 of 6 runs, such as lora.rank=-1 stage.epochs=0" in message
    assert "in 3 of 6 runs, such as lora.rank=2 stage.epochs=0" in message


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("lora.rnk=2,4", "Did you mean lora.rank?"),
        ("lora.rank=interval(2,4)", "has no list of values for a grid"),
        ("tracking.project=a,b", "cannot be swept"),
        ("sweep.name=a,b", "cannot be swept"),
        ("run_dir=a,b", "cannot be swept"),
        ("sweeps=lora_kl_rolouts", "Did you mean lora_kl_rollouts?"),
        ("sweep.nme=x", "Did you mean sweep.name?"),
        ("sweep.name=a/b", "sweep.name=a/b"),
        ("hydra/launcher=warmer", "hydra/launcher"),
    ],
)
def test_a_mistake_is_explained(override: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        grid(request_of(override))
    assert told in str(error.value)


def test_a_search_is_validated_at_the_ends_of_its_axes() -> None:
    searched = ["sweep=asha", "lora.rank=2,4", "stage.learning_rate=tag(log,interval(1e-5,1e-2))"]
    points = corners(request_of(*searched))
    assert {point.experiment.stage.learning_rate for point in points} == {1e-5, 1e-2}
    with pytest.raises(ConfigError, match=r"stage\.learning_rate=-1 "):
        corners(request_of("sweep=asha", "stage.learning_rate=interval(-1,1)"))
    with pytest.raises(ConfigError, match=r"seed .* is nothing to search for"):
        request_of("sweep=asha", "seed=1,2")


def test_a_folder_that_no_one_gave_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="hydra/sweeper=lab"):
        folder_of(["lora.rank=2"])
    assert folder_of(["run_dir='/a/it\\'s'"]).path == Path("/a/it's")


def test_a_sweep_is_planned_without_jax() -> None:
    script = (
        "import sys; import reasoning_lab.sweeps.conduct, reasoning_lab.compare.show;"
        "print([name for name in ('jax', 'tunix', 'wandb', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
