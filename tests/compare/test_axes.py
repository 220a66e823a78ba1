from pathlib import Path
from typing import Any

import yaml

from reasoning_lab.compare.axes import differences, find_axes
from reasoning_lab.compare.comparison import ComparedRun
from reasoning_lab.compare.find import find_runs
from reasoning_lab.compare.folders import read_run
from tests.compare.run_folders import Values, config, write_run, write_sweep


def read(*paths: Path) -> list[ComparedRun]:
    return [read_run(found) for found in find_runs(paths)]


def single_runs(folder: Path, *values: Values, **keywords: Any) -> list[ComparedRun]:
    """Runs that belong to no sweep."""
    return read(
        *(write_run(folder / f"r{i}", each, **keywords).path for i, each in enumerate(values))
    )


def shown(runs: list[ComparedRun]) -> dict[str, tuple[str, ...]]:
    return {axis.name: axis.values for axis in find_axes(runs)[0]}


def test_axes_of_a_sweep_are_what_it_set_in_numeric_order(tmp_path: Path) -> None:
    sweep = write_sweep(
        tmp_path / "s", {"lora.rank": ["16", "8", "128"], "data": ["mbpp", "gsm8k"]}, 2,
        waiting=["rank=8-data=mbpp-seed=0"],
    )  # fmt: skip
    axes, places = find_axes(read(sweep))
    assert {axis.name: axis.values for axis in axes} == {
        "lora.rank": ("8", "16", "128"),
        "data": ("mbpp", "gsm8k"),
    }
    assert places["rank=8-data=mbpp-seed=0"] == {"lora.rank": "8", "data": "mbpp"}


def test_axes_of_single_runs_are_the_keys_that_differ(tmp_path: Path) -> None:
    runs = single_runs(
        tmp_path,
        {"lora.rank": "8", "stage.learning_rate": "1.0e-4", "seed": "0"},
        {"lora.rank": "16", "stage.learning_rate": "1.0e-4", "seed": "1"},
        {"lora.rank": "8", "stage.learning_rate": "3.0e-5", "seed": "2"},
    )
    assert shown(runs) == {
        "lora.rank": ("8", "16"),
        "stage.learning_rate": ("3e-05", "0.0001"),
    }
    assert differences(runs)["seed"] == {"r0": 0, "r1": 1, "r2": 2}


def test_keys_that_change_together_are_one_axis(tmp_path: Path) -> None:
    runs = single_runs(
        tmp_path,
        {"lora.rank": "8", "lora.alpha": "16.0", "stage.beta": "0.1"},
        {"lora.rank": "16", "lora.alpha": "32.0", "stage.beta": "0.1"},
        {"lora.rank": "16", "lora.alpha": "32.0", "stage.beta": "0.2"},
    )
    assert shown(runs) == {
        "lora": ("rank=8 alpha=16", "rank=16 alpha=32"),
        "stage.beta": ("0.1", "0.2"),
    }


def test_sets_of_data_are_called_by_their_sources(tmp_path: Path) -> None:
    runs = single_runs(tmp_path, {"data": "gsm8k"}, {"data": "mbpp"}, {"data": "sciq"})
    assert shown(runs) == {"data": ("gsm8k", "mbpp", "sciq")}


def test_one_key_of_the_data_keeps_its_name(tmp_path: Path) -> None:
    key = "data.sources.gsm8k.rows"
    assert shown(single_runs(tmp_path, {key: "100"}, {key: "50"})) == {key: ("50", "100")}


def test_sft_and_grpo_differ_in_the_stage_as_a_whole(tmp_path: Path) -> None:
    sft = write_run(tmp_path / "sft", {}, stage="sft")
    grpo = write_run(tmp_path / "grpo", {}, stage="grpo")
    (name,) = shown(read(sft.path, grpo.path))
    assert name == "stage+reward"
    assert shown(read(sft.path, grpo.path))[name] == ("sft, none", "grpo, math")


def test_values_that_would_be_called_the_same_are_numbered(tmp_path: Path) -> None:
    runs = single_runs(tmp_path, {}, {}, {})
    for key, run in zip("xyz", runs, strict=True):
        root = config({})
        root["data"]["sources"]["gsm8k"] = {"domain": "math", key: 1}
        run.folder.config_path.write_text(yaml.safe_dump(root))
    runs = read(*(run.folder.path for run in runs))
    (values,) = shown(runs).values()
    assert len(set(values)) == 3


def test_what_changes_no_weights_is_no_axis_unless_nothing_else_differs(tmp_path: Path) -> None:
    key = "hardware.platform"
    values = [{"lora.rank": "8", key: "cpu"}, {"lora.rank": "16", key: "gpu"}]
    runs = single_runs(tmp_path / "both", *values)
    assert list(shown(runs)) == ["lora.rank"]
    assert key in differences(runs)
    assert list(shown(single_runs(tmp_path / "alone", {key: "cpu"}, {key: "gpu"}))) == [key]


def test_warm_starts_of_their_own_leave_seeds_replicates(tmp_path: Path) -> None:
    runs = single_runs(
        tmp_path / "own",
        *({"lora.rank": r, "seed": s, "init_from": f"sft-{r}-{s}"} for r in "48" for s in "01"),
    )
    assert list(shown(runs)) == ["lora.rank"]
    chosen = single_runs(tmp_path / "chosen", {"init_from": "one"}, {"init_from": "two"})
    assert shown(chosen) == {"init_from": ("one", "two")}


def test_a_key_that_an_older_version_lacks_is_no_axis(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", {"lora.rank": ["8", "16"]}, 1, older=["rank=8-seed=0"])
    runs = read(*(path for path in sweep.iterdir() if path.is_dir()))
    assert {axis.name for axis in find_axes(runs)[0]} == {"lora.rank"}
    assert "generation.temperature" in differences(runs)


def test_sweeps_that_set_the_same_keys_on_other_ground_are_told_apart(tmp_path: Path) -> None:
    axes = {"lora.rank": ["8", "16"]}
    first, second = (write_sweep(tmp_path / name, axes, 1) for name in ("a", "b"))
    assert list(shown(read(first, second))) == ["lora.rank"]
    for path in second.glob("*/config.yaml"):
        root = yaml.safe_load(path.read_text())
        root["stage"]["beta"] = 0.5
        path.write_text(yaml.safe_dump(root))
    assert set(shown(read(first, second))) == {"lora.rank", "stage.beta"}


def test_a_run_whose_config_cannot_be_read_is_a_setting_of_its_own(tmp_path: Path) -> None:
    runs = single_runs(tmp_path, {"seed": "0"}, {"seed": "1"}, {"seed": "2"})
    runs[2].folder.config_path.write_text("{")
    axes, places = find_axes(read(*(run.folder.path for run in runs)))
    assert places["r0"] == places["r1"] != places["r2"] == {"config.yaml": "unreadable"}
    assert [axis.name for axis in axes] == ["config.yaml"]


def test_runs_alike_but_for_their_seeds_have_no_axis(tmp_path: Path) -> None:
    axes, places = find_axes(single_runs(tmp_path, {"seed": "0"}, {"seed": "1"}))
    assert axes == ()
    assert places == {"r0": {}, "r1": {}}
