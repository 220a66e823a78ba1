"""The chips that can be planned for: what the makers and their compilers say of them; no JAX."""

import os
from dataclasses import dataclass

from reasoning_lab.hardware.specs import Chip

GIB = 2**30

GPU_MEMORY_FRACTION = 0.92
"""Share of a GPU's memory that JAX may take; the rest is for the driver and CUDA's libraries."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One kind of chip, by its `hardware.chip`."""

    name: str
    memory_budget: int
    """Bytes of one chip that a program may use."""
    flops: float | None = None
    """Most floating-point operations per second in bfloat16; None: not known."""
    bandwidth: float | None = None
    """Bytes per second between the chip and its memory; None: not known."""
    on_chip: int = 0
    """Bytes that a chip holds beside its memory, and need not fetch again."""
    platform: str = "cpu"
    """As XLA names its compilers: "cpu", "cuda" or "tpu"."""
    topology: str = ""
    """What the compiler calls the machine, where the chip alone does not say it."""
    chips_per_host: tuple[int, int, int] = (1, 1, 1)
    target_config: str = ""
    """stream_executor.GpuTargetConfigProto as text: a card that is not there, for XLA."""

    @property
    def known_speed(self) -> bool:
        return self.flops is not None and self.bandwidth is not None


# Google Cloud, "TPU v5e" (https://cloud.google.com/tpu/docs/v5e): 197 TFLOP/s in bf16 and 16 GB of
# HBM at 819 GB/s a chip. The compiler of libtpu 0.0.42 grants a program 15.75 GiB, as its
# out-of-memory errors say. VMEM: "How to Scale Your Model"
# (https://jax-ml.github.io/scaling-book/tpus), 128 MiB.
TPU_V5E = Machine(
    name="TPU v5e",
    memory_budget=int(15.75 * GIB),
    flops=197e12,
    bandwidth=819e9,
    on_chip=128 * 2**20,
    platform="tpu",
    topology="v5e:2x4",
    chips_per_host=(2, 4, 1),
)

# NVIDIA, "Ampere GA102 GPU Architecture"
# (https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf):
# 71 TFLOP/s in bf16 that is summed up in float32, 24 GB at 936 GB/s, 82 cores (SMs) of 128 units at
# 1.695 GHz, 6 MiB of L2. What a core and a block may have is that of compute capability 8.6: CUDA
# C++ Programming Guide, "Technical Specifications per Compute Capability".
_RTX3090_BYTES = 25_296_961_536  # of 24 GiB, what the driver leaves to programs
RTX3090 = Machine(
    name="RTX 3090",
    memory_budget=int(GPU_MEMORY_FRACTION * _RTX3090_BYTES),
    flops=71e12,
    bandwidth=936e9,
    on_chip=6 * 2**20,
    platform="cuda",
    topology="1x1x1",
    # Laid out like xla/backends/gpu/target_config/specs/a6000.txtpb of OpenXLA, also sm_86.
    target_config=f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 102400
  threads_per_core_limit: 1536
  core_count: 82
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 936000000000
  l2_cache_size: 6291456
  clock_rate_ghz: 1.695
  device_memory_size: {_RTX3090_BYTES}
  shared_memory_per_block_optin: 101376
  cuda_compute_capability {{ major: 8 minor: 6 }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 }}
runtime_version {{ major: 12 minor: 9 }}
device_description_str: "NVIDIA GeForce RTX 3090"
""",
)


def machine(chip: Chip) -> Machine:
    """The facts about a chip; of the processor, those of this very machine."""
    match chip:
        case "tpu_v5e":
            return TPU_V5E
        case "rtx3090":
            return RTX3090
        case "cpu":
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            return Machine(name="this computer's processor", memory_budget=memory)
