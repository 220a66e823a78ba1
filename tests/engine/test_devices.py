"""Starting JAX: in a process of its own, because it starts once."""

import json
import os
import subprocess
import sys
from pathlib import Path

_START = """
import json, sys
from reasoning_lab.config import ConfigError
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
    except ConfigError as error:
        said.append(str(error))
print(json.dumps(said))
"""


def test_a_machine_that_is_not_there_is_said_with_a_remedy(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "CUDA_VISIBLE_DEVICES": "",
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
    assert product == [{"fsdp": 1, "tp": 2}, "2 x cpu"]
    assert two == [{"fsdp": 2, "tp": 1}, "2 x cpu"]
