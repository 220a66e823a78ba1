import json
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning_lab.__main__ import main
from tests.compare.run_folders import write_run, write_sweep

REPOSITORY = Path(__file__).parents[2]


def test_a_sweep_is_compared_into_its_own_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(tmp_path / "s", {"lora.rank": ["8", "16"]}, 2)
    assert main(["compare", str(sweep)]) == 0
    assert "lora.rank=16" in capsys.readouterr().out
    folder = sweep / "comparison"
    record = json.loads((folder / "comparison.json").read_text())
    assert record["verdict"]["headline"] in (folder / "verdict.md").read_text()
    assert "lora.rank=16" in (folder / "index.html").read_text()
    assert main(["compare", str(sweep)]) == 0  # what it wrote is no run


def test_runs_are_compared_into_the_folder_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in ("8", "16"):
        write_run(tmp_path / "runs" / f"rank{rank}", {"lora.rank": rank})
    arguments = ["compare", "rank8", "rank16", "--runs-dir", str(tmp_path / "runs")]
    output = tmp_path / "made" / "here"
    assert main([*arguments, "--output", str(output), "--metric", "reward"]) == 0
    assert json.loads((output / "comparison.json").read_text())["metric"]["name"] == "reward"
    assert "trained models, not settings" in capsys.readouterr().out


def test_without_a_sweep_the_folder_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "runs" / "r", {})
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "runs"]) == 0
    assert (tmp_path / "comparison" / "verdict.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "There is no run 'nothing'"),
        (["r", "--metric", "corect"], "Did you mean correct?"),
        (["r", "--output", "file/below"], "--output file/below: cannot be made"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    write_run(tmp_path / "r", {})
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_comparing_never_imports_jax(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", {"lora.rank": ["8", "16"]}, 1)
    program = (
        "import sys; from reasoning_lab.__main__ import main; "
        f"assert main(['compare', {str(sweep)!r}]) == 0; "
        "assert 'jax' not in sys.modules and 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
