"""What steps took is kept by machine, and read back whatever a crash left."""

from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_lab.experiment import compose
from reasoning_lab.hardware import calibration
from reasoning_lab.hardware.calibration import (
    Measurement,
    add,
    machine_name,
    measurements,
    planned_machine,
)

TPU = Measurement(
    machine="8 x TPU v5 lite",
    program="SFT step",
    sizes={"rows": 8, "mesh": [8, 1]},
    seconds=0.25,
    tokens=None,
    steps=10,
    date="2026-11-22T00:00:00+00:00",
    versions={"jax": "0.10.2"},
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REASONING_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_measurements_are_kept_by_machine() -> None:
    assert measurements(TPU.machine) == []
    other = replace(TPU, machine="1 x NVIDIA GeForce RTX 3090", tokens=31.5)
    for one in (TPU, other, replace(TPU, seconds=0.5)):
        add(one)
    assert measurements(TPU.machine) == [TPU, replace(TPU, seconds=0.5)]
    assert measurements(other.machine) == [other]


def test_a_torn_line_costs_itself_alone(cache: Path) -> None:
    add(TPU)
    [path] = (cache / "measured").iterdir()
    path.write_text(path.read_text()[:-9])
    add(replace(TPU, seconds=0.5))
    assert measurements(TPU.machine) == [replace(TPU, seconds=0.5)]
    path.write_text(path.read_text() + '{"of": "another version"}\n')
    assert len(measurements(TPU.machine)) == 1


def test_a_processor_is_named_and_an_accelerator_as_jax_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibration, "_processor", lambda: "Xeon 7")
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert machine_name("1 x cpu") == "1 x cpu (Xeon 7, 4 cores)"
    assert machine_name("8 x TPU v5 lite") == "8 x TPU v5 lite"
    assert planned_machine(compose().hardware) == "1 x cpu (Xeon 7, 4 cores)"
    tpu = compose(["hardware=tpu_v5e8", "stage.batch_tokens=2048"]).hardware
    assert planned_machine(tpu) == TPU.machine
