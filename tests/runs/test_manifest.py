import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning_lab.runs import manifest
from reasoning_lab.runs.manifest import describe_run


def describe() -> dict[str, object]:
    return describe_run(
        packages=["pytest", "no-such-package"],
        seeds={"data": 7},
        fingerprints={"weights": "ab" * 32},
        device="TFRT_CPU_0",
    )


def test_a_manifest_tells_what_a_run_was_made_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["launch.py", "lora.rank=4"])
    described = json.loads(json.dumps(describe()))
    assert described["packages"] == {"pytest": pytest.__version__, "no-such-package": None}
    assert described["command"][1:] == ["launch.py", "lora.rank=4"]
    assert described["python"] == platform.python_version()
    assert described["cpu_count"] >= 1
    assert described["seeds"] == {"data": 7}
    assert described["fingerprints"] == {"weights": "ab" * 32}
    assert described["device"] == "TFRT_CPU_0"


def test_secrets_in_the_environment_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "5ecret" * 8)
    assert "5ecret" not in json.dumps(describe())


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_git_revision_and_whether_the_files_differ_from_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    source = tmp_path / "code.py"
    source.write_text("1\n")
    assert manifest._git_state(tmp_path) is None  # nothing is tracked: not a checkout of this code
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    revision = git(tmp_path, "rev-parse", "HEAD")
    assert manifest._git_state(tmp_path) == {"revision": revision, "dirty": False}
    source.write_text("2\n")
    assert manifest._git_state(tmp_path) == {"revision": revision, "dirty": True}


def test_no_git_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert manifest._git_state(tmp_path) is None  # outside any repository
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe()["git"] is None
