"""Starting JAX: in a process of its own, because it starts once."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from reasoning_lab.config import ConfigError
from reasoning_lab.engine import devices
from reasoning_lab.hardware.machines import GPU_MEMORY_FRACTION
from reasoning_lab.hardware.specs import HardwareSpec

_START = """
import json, sys
import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.engine import devices
from reasoning_lab.hardware.specs import HardwareSpec

said = []
wanted = [("gpu", 1, 1), ("tpu", 8, 1), ("cpu", 3, 1), ("cpu", 1, 2), ("cpu", 2, 1)]
for platform, fsdp, tp in wanted:
    hardware = HardwareSpec(
        platform=platform, fsdp=fsdp, tp=tp, param_dtype="float32", remat=False,
        rows_per_micro_batch=1, generation_batch_size=1,
    )
    try:
        mesh = devices.start(hardware)
        said.append([dict(mesh.shape), devices.describe()])
        everywhere = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        spread = jax.device_put(np.zeros((8, 8)), everywhere)
        devices.check_spread({"w": spread}, mesh)
        devices.check_spread({"w": jax.device_put(spread, mesh.devices.flat[0])}, mesh)
    except ConfigError as error:
        said.append(str(error))
    except RunError as error:
        said[-1].append(str(error))
print(json.dumps(said))
"""


def test_a_machine_that_is_not_there_is_said_with_a_remedy(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "CUDA_VISIBLE_DEVICES": "",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # others may compile for TPUs at this moment
        "REASONING_LAB_CACHE": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", _START], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    gpu, tpu, three, product, two = json.loads(done.stdout.splitlines()[-1])
    for text, platform, extra in ((gpu, "gpu", "cuda"), (tpu, "tpu", "tpu")):
        assert text.startswith(f"hardware.platform={platform}: JAX finds no such device")
        assert f"pip install 'reasoning_lab[{extra}]'" in text
        assert "hardware=cpu" in text
    assert "hardware.fsdp=3 x hardware.tp=1 needs 3 devices, and this machine has 2" in three
    assert "hardware.fsdp=2 hardware.tp=1" in three
    for (shape, said, lost), fsdp, tp in ((product, 1, 2), (two, 2, 1)):
        assert (shape, said) == ({"fsdp": fsdp, "tp": tp}, "2 x cpu")
        assert "do not lie on all 2 devices of the mesh" in lost
        assert "cpu:1: 0 GB" in lost


def hardware(platform: Literal["cpu", "gpu", "tpu"]) -> HardwareSpec:
    return HardwareSpec(
        platform=platform,
        param_dtype="float32",
        remat=False,
        rows_per_micro_batch=1,
        generation_batch_size=1,
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            ("ABORTED: The TPU is already in use by process with pid 4711. Not attempting to load "
            "libtpu.so in this process."),
            ["process 4711", "kill 4711"],
        ),
        ("UNKNOWN: open(/dev/vfio/0): Device or resource busy", ["another process", "lsof"]),
        (("ABORTED: Internal error when accessing libtpu multi-process lockfile. Run \"$ sudo rm "
         "/tmp/libtpu_lockfile\"."), ["another process"]),
    ],
)  # fmt: skip
def test_a_tpu_in_use_is_said_with_who_uses_it(
    said: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises() -> None:
        raise RuntimeError(f"Unable to initialize backend 'tpu': {said}")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(jax, "devices", raises)
    monkeypatch.setattr(jax.config, "update", lambda *words: None)
    with pytest.raises(ConfigError) as error:
        devices.start(hardware("tpu"))
    assert str(error.value).startswith("hardware.platform=tpu: the TPU is in use by ")
    for part in [*told, "Wait until it ends"]:
        assert part in str(error.value)


def test_what_is_not_installed_is_said_before_jax_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax.config, "update", lambda *words: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(devices, "has_nvidia_driver", lambda: True)
    with pytest.raises(ConfigError, match="the package jax_cuda12_plugin is not installed"):
        devices.start(hardware("gpu"))
    with pytest.raises(ConfigError, match="the package libtpu is not installed"):
        devices.start(hardware("tpu"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(devices, "has_nvidia_driver", lambda: False)
    with pytest.raises(ConfigError, match=r"no NVIDIA driver: there is none of /dev/nvidiactl"):
        devices.start(hardware("gpu"))
    monkeypatch.setattr(devices, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES='' hides all of them"):
        devices.start(hardware("gpu"))


def test_cuda_wheels_without_a_driver_are_overlooked() -> None:
    """They are installed here for mode=plan, and would print eight lines."""
    program = "import reasoning_lab, jax; jax.config.update('jax_platforms', 'cpu'); jax.devices()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_users_share_of_gpu_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax.config, "update", lambda *words: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    name = "XLA_PYTHON_CLIENT_MEM_FRACTION"
    for said, kept in ((None, str(GPU_MEMORY_FRACTION)), ("0.5", "0.5")):
        monkeypatch.delenv(name, raising=False)
        if said:
            monkeypatch.setenv(name, said)
        with pytest.raises(ConfigError):
            devices.start(hardware("gpu"))
        assert os.environ.pop(name) == kept


def test_what_weights_take_on_each_device_is_said(caplog: pytest.LogCaptureFixture) -> None:
    mesh = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("fsdp", "tp"))
    with caplog.at_level("INFO"):
        devices.check_spread({"embedding": jnp.zeros(250_000)}, mesh)
    assert "weights: 0.001 GB over 1 x cpu, 0.001 GB each" in caplog.text
