"""Command lines for other machines: each is read back by what it is written for."""

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import compose, what_it_does
from reasoning_lab.sweeps.commands import Command, commands, write_all
from reasoning_lab.sweeps.machine import Machine
from reasoning_lab.sweeps.plan import Point, grid, read_request
from tests.sweeps.ctrl_c import obeying_ctrl_c

# RFC 1035, which JobSet and xpk ask for; it is stricter than RFC 1123.
ODD = "tracking.entity='it\\'s a [\"test\"] $HOME'"
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def points(folder: Path, *overrides: str) -> list[Point]:
    quick = ["experiment=quick_cpu", f"runs_dir={folder}"]
    return grid(read_request([*quick, *overrides]))


def made(folder: Path, *overrides: str) -> list[Command]:
    return commands([point.overrides for point in points(folder, *overrides)])


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """Two runs with everything that has to be quoted."""
    monkeypatch.chdir(tmp_path)
    return made(tmp_path / "runs", "sweep.name=s", "lora.rank=2,4", ODD)


def test_each_line_makes_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = ["sweep.name=s", "lora.target_modules=[q_proj],[q_proj,v_proj]", ODD]
    wanted = points(tmp_path / "runs", *chosen)
    for point, command in zip(wanted, made(tmp_path / "runs", *chosen), strict=True):
        python, script, *words = shlex.split(command.line)
        assert (python, script) == ("python", "launch.py")
        experiment = compose(words)
        assert what_it_does(experiment) == what_it_does(point.experiment)
        assert experiment.tracking.entity == 'it\'s a ["test"] $HOME'
        assert experiment.tracking.group == "s"
        assert not Path(experiment.run_dir or "/").is_absolute()
        assert Path(experiment.run_dir or "").resolve() == point.path


def test_folders_elsewhere_are_named_in_full(tmp_path: Path) -> None:
    [command] = made(tmp_path / "runs", "lora.rank=2", "sweep.name=s")
    [folder] = [word for word in command.words if word.startswith("run_dir=")]
    assert str(tmp_path) in folder


def test_every_form_can_be_read(sweep: list[Command], tmp_path: Path) -> None:
    folder = tmp_path / "runs/sweeps/s/commands"
    files = write_all(sweep, folder, Machine())
    assert all(path.exists() for path in files.values())
    for path in folder.glob("*.sh"):
        assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
        assert os.access(path, os.X_OK)
    lines = (folder / "commands.txt").read_text().splitlines()
    assert [shlex.split(line) for line in lines] == [list(one.words) for one in sweep]
    for one in sweep:
        jobset = yaml.safe_load((folder / f"jobset/{one.name}.yaml").read_text())
        assert (jobset["kind"], jobset["metadata"]["name"]) == ("JobSet", one.name)
        [replicated] = jobset["spec"]["replicatedJobs"]
        [container] = replicated["template"]["spec"]["template"]["spec"]["containers"]
        assert container["command"] == list(one.words)
        assert container["resources"]["limits"] == {"google.com/tpu": 8}
        task = yaml.safe_load((folder / f"skypilot/{one.name}.yaml").read_text())
        assert task["name"] == one.name
        assert shlex.split(task["run"]) == list(one.words)


def test_scripts_hand_over_each_command_whole(sweep: list[Command], tmp_path: Path) -> None:
    """xpk and sky are replaced by programs that print what they are given."""
    folder = tmp_path / "runs/sweeps/s/commands"
    write_all(sweep, folder, Machine(image="my/image:1"))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("xpk", "sky"):
        (programs / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (programs / name).chmod(0o755)
    path = {"PATH": f"{programs}:{os.environ['PATH']}", "CLUSTER": "my cluster"}

    def given(script: str) -> list[str]:
        done = subprocess.run(
            [folder / script], env=path, capture_output=True, text=True, check=True
        )
        assert done.stderr == "0 failed\n"
        return done.stdout.splitlines()

    xpk = given("xpk.sh")
    for one in sweep:
        assert f"--command={one.line}" in xpk
        assert f"--workload={one.name}" in xpk
    assert xpk.count("--cluster=my cluster") == len(sweep)
    assert xpk.count("--docker-image=my/image:1") == len(sweep)
    tasks = [word for word in given("skypilot.sh") if word.endswith(".yaml")]
    assert len(tasks) == len(sweep)
    for task in tasks:  # from the folder that SkyPilot takes along
        assert (tmp_path / task).is_file()


@pytest.mark.parametrize(
    "name",
    ["s", "S_1", "2026.11.22", "0a", "a" * 120, "x--.-y_", f"{'ab-' * 10}c", "sft-rank-0a1b2c3d"],
)
def test_names_are_labels(name: str, tmp_path: Path) -> None:
    found = made(tmp_path, f"sweep.name={name}", "lora.rank=2,4")
    for one in found:
        assert LABEL.fullmatch(one.name)
        assert len(one.name) <= 40
    assert len({one.name for one in found}) == 2


def test_names_tell_runs_apart_and_stay(tmp_path: Path) -> None:
    """A cluster refuses another run under a name that it knows."""
    long = "grpo-rank-beta-num_generations-max_completion_length-"
    first = made(tmp_path, f"sweep.name={long}1", "lora.rank=2,4")
    second = made(tmp_path, f"sweep.name={long}2", "lora.rank=2,4")
    assert len({one.name for one in [*first, *second]}) == 4
    [again] = made(tmp_path, f"sweep.name={long}1", "lora.rank=4,4")
    assert again == first[1]


def test_what_was_written_before_is_replaced(sweep: list[Command], tmp_path: Path) -> None:
    write_all(sweep, tmp_path / "c", Machine())
    write_all(sweep[1:], tmp_path / "c", Machine())
    for form in ("jobset", "skypilot"):
        [path] = (tmp_path / "c" / form).iterdir()
        assert path.stem == sweep[1].name


def script(folder: Path, *lines: str) -> Path:
    write_all([Command("a", ("sh", "-c", line)) for line in lines], folder, Machine())
    return folder / "run.sh"


def test_a_failure_keeps_no_other_run_from_its_turn(tmp_path: Path) -> None:
    path = script(tmp_path, "echo one", "exit 3", "echo two")
    done = subprocess.run([path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "one\ntwo\n", "1 failed\n")


def test_ctrl_c_ends_the_script_and_not_only_the_run(tmp_path: Path) -> None:
    """A run saves, and then exits with 130 as launch.py does."""
    path = script(tmp_path, "trap 'exit 130' INT; echo one; sleep 10", "echo two")
    with subprocess.Popen(
        obeying_ctrl_c([path]), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == ""
    assert process.returncode == 130


def test_a_machine_is_described_by_its_keys() -> None:
    launcher = ["experiment=quick_cpu", "hydra/launcher=commands"]
    read_request([*launcher, "hydra.launcher.machine.chips=4"])
    with pytest.raises(ConfigError) as error:
        read_request([*launcher, "hydra.launcher.machine.tpu_typ=v6e-8"])
    assert "Did you mean hydra.launcher.machine.tpu_type?" in str(error.value)


def test_secrets_are_never_written(
    sweep: list[Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123key4567")
    monkeypatch.setenv("HF_TOKEN", "hf_0123key4567")
    words = ["sweep.name=t", "lora.rank=2,4", "tracking=wandb"]
    folder = tmp_path / "c"
    write_all([*sweep, *made(tmp_path, *words)], folder, Machine())
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 4 + 2 * 4
    assert not [path for path in files if "0123key4567" in path.read_text()]
