"""The files for `wandb sweep`, and our runs under `wandb agent`."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_server import FakeServer, wandb_command

from reasoning_lab.experiment import compose
from reasoning_lab.stages.specs import GRPOSpec
from reasoning_lab.tracking.identity import identify
from reasoning_lab.tracking.specs import TrackingSpec
from reasoning_lab.tracking.tracker import open_tracker

REPOSITORY = Path(__file__).parents[2]
FILES = sorted((REPOSITORY / "sweeps/wandb").glob("*.yaml"))


def values_of(parameter: dict[str, Any]) -> list[Any]:
    """All values of a parameter, or the ends of its range."""
    return parameter.get("values") or [parameter["min"], parameter["max"]]


def overrides_of(sweep: dict[str, Any], parameters: dict[str, Any]) -> list[str]:
    """The command line of a run, without the program."""
    given = [f"{key}={value}" for key, value in parameters.items()]
    [start] = [i for i, word in enumerate(sweep["command"]) if word == "${program}"]
    assert sweep["command"][-1] == "${args_no_hyphens}"
    return [*sweep["command"][start + 1 : -1], *given]


def test_there_is_a_grid_and_a_search() -> None:
    assert [path.stem for path in FILES] == ["bayes", "grid"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_sweep_file_fits_our_experiments(path: Path) -> None:
    text = path.read_text("utf-8")
    assert f"# wandb sweep {path.relative_to(REPOSITORY)}".replace("# ", "#   ") in text
    sweep = yaml.safe_load(text)
    assert (REPOSITORY / sweep["program"]).is_file()
    assert sweep["command"][:3] == ["${env}", "${interpreter}", "${program}"]
    assert sweep["metric"] == {"name": "eval/score", "goal": "maximize"}  # see _held_out_metrics

    values = {key: values_of(parameter) for key, parameter in sweep["parameters"].items()}
    for number in range(max(map(len, values.values()))):  # until each value was there
        point = {key: some[number % len(some)] for key, some in values.items()}
        experiment = compose(overrides_of(sweep, point))
        assert isinstance(experiment.stage, GRPOSpec)
        assert experiment.stage.eval_every
        assert experiment.tracking.wandb
        if "early_terminate" in sweep:
            evaluations = 1 + experiment.stage.max_steps // experiment.stage.eval_every
            assert sweep["early_terminate"]["min_iter"] < evaluations


_LAUNCH = """
import sys
from pathlib import Path
from reasoning_lab.tracking.specs import TrackingSpec
from reasoning_lab.tracking.tracker import open_tracker

print(sys.argv[1:])
run_dir = Path("runs/20261122-080000-grpo-tiny").resolve()
run_dir.mkdir(parents=True)
spec = TrackingSpec(wandb=True, project="mine")
config = {"lora": {"rank": 8}, "stage": {"beta": 0.02, "num_generations": 4}}
with open_tracker(spec, run_dir, config, job_type="grpo") as tracker:
    for step in range(4):
        tracker.log(step, {"eval/score": step / 4})
"""


def test_an_agent_runs_it_and_the_run_can_be_resumed_without_the_agent(
    tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "launch.py").write_text(_LAUNCH)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    said = wandb_command(tmp_path, "sweep", str(REPOSITORY / "sweeps/wandb/grid.yaml"))
    assert "wandb agent me/reasoning_lab/s1" in said
    parameters = {"lora.rank": 8, "stage.beta": 0.02, "stage.num_generations": 4}
    arguments = {key: {"value": value} for key, value in parameters.items()}
    command = {"type": "run", "run_id": "xyz12345", "program": "launch.py", "args": arguments}
    server.commands = [command]
    said = wandb_command(tmp_path, "agent", "--count", "1", "me/reasoning_lab/s1")
    assert str(overrides_of(yaml.safe_load(server.sweep), parameters)) in said

    [(id, run)] = server.runs.items()
    assert id == "xyz12345"
    assert (run.created["project"], run.created["sweep"]) == ("reasoning_lab", "s1")
    assert parameters.items() <= run.config.items()
    assert [row["step"] for row in run.history] == [0, 1, 2, 3]

    [run_dir] = tmp_path.glob("runs/2026*")
    assert identify(run_dir).id == id
    spec = TrackingSpec(wandb=True, project="reasoning_lab")
    with open_tracker(spec, run_dir, {}, job_type="grpo", resume_step=2) as tracker:
        for step in (3, 4, 5):
            tracker.log(step, {"eval/score": step / 4})
    assert list(server.runs) == [id]
    assert [row["step"] for row in run.history] == [0, 1, 2, 3, 4, 5]
