"""What hydra/launcher=commands may be told of a machine. Read at every start: it stays light."""

from dataclasses import dataclass


@dataclass  # not frozen: Hydra would refuse to override its keys
class Machine:
    """What a run is given in a cluster. The defaults are one TPU v5e-8 host.

    image: container with this repository as its working directory.
    accelerator: of the node and topology: labels that GKE gives nodes; chips: of one host.
    tpu_type: as xpk and SkyPilot call it. runtime: software of the TPU VM, for SkyPilot.
    """

    image: str = "YOUR_REGISTRY/reasoning_lab:latest"
    accelerator: str = "tpu-v5-lite-podslice"
    topology: str = "2x4"
    chips: int = 8
    tpu_type: str = "v5litepod-8"
    runtime: str = "v2-alpha-tpuv5-lite"
