"""Programs are compiled in a process of their own, and once."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.config import RunError
from reasoning_lab.engine.programs import Program
from reasoning_lab.experiment import compose
from reasoning_lab.hardware.machines import machine
from reasoning_lab.preflight import compiling
from reasoning_lab.preflight.compiled import Setup
from reasoning_lab.preflight.compiling import compile_all
from reasoning_lab.preflight.estimate import estimated
from reasoning_lab.preflight.work import work_of
from reasoning_lab.preflight.worker import bytes_refused

HERE = Setup(machine=machine("cpu"), fsdp=1, tp=1, quick=True)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REASONING_LAB_CACHE", str(tmp_path))
    return tmp_path


def sft_step() -> Program:
    """Of a model with two layers."""
    program = work_of(compose(["experiment=quick_cpu"]))[0].program
    return program.with_layers(("local", "global"))


def test_a_program_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    program = sft_step()
    seen: list[tuple[int, int]] = []
    [compiled] = compile_all(HERE, [program], lambda done, of: seen.append((done, of)))
    assert seen == [(0, 1), (1, 1)]
    assert 0 < compiled.arguments < compiled.peak < 1e9
    assert compiled.flops > 0
    assert compiled.bytes > 0
    # docs/plan.md: within a factor of 3 of the compiler's.
    assert 1 / 3 < estimated(program, 1, 1).peak / compiled.peak < 3

    def no_process(*_: Any, **__: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    assert compile_all(HERE, [program]) == [compiled]
    with pytest.raises(AssertionError, match="compiled again"):
        compile_all(HERE, [program.with_layers(("local",))])


def test_a_compiler_that_dies_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling.sys, "executable", "/bin/false")
    with pytest.raises(RunError, match="The compiler failed"):
        compile_all(HERE, [sft_step()])


@pytest.mark.parametrize(
    ("message", "size"),
    [
        ("RESOURCE_EXHAUSTED: Ran out of memory. Used 20.5G of 15.75G hbm.", 20.5 * 2**30),
        ("RESOURCE_EXHAUSTED: Used 900.00M of 15.75G hbm", 900 * 2**20),
        (
            "RESOURCE_EXHAUSTED: HLO temporaries (16.25G) exceeds available HBM (15.75G).",
            16.25 * 2**30,
        ),
        ("RESOURCE_EXHAUSTED: Ran out of memory. Used 20.5M of 16.00M vmem.", None),
        ("INVALID_ARGUMENT: no", None),
    ],
)
def test_what_a_refused_program_would_need_is_read_off(message: str, size: float | None) -> None:
    assert bytes_refused(message) == size
