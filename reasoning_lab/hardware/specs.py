"""The machine that an experiment runs on: mesh, number format and how much it computes at once."""

from typing import Literal

from pydantic import Field

from reasoning_lab.config import spec

Chip = Literal["cpu", "rtx3090", "tpu_v5e"]


@spec
class HardwareSpec:
    """Nothing here changes what is learned, beyond rounding."""

    platform: Literal["cpu", "gpu", "tpu"] = Field(description="JAX platform")
    fsdp: int = Field(default=1, ge=1, description="devices that share out rows and weights")
    tp: int = Field(
        default=1, ge=1, description="devices that share out each matrix (tensor parallel)"
    )
    param_dtype: Literal["float32", "bfloat16"] = Field(
        description="number format of the frozen base; LoRA and optimizer stay in float32"
    )
    remat: bool = Field(description="recompute activations going backward, to save memory")
    rows_per_micro_batch: int = Field(
        ge=1, description="packed rows that one device computes at once, at most"
    )
    generation_batch_size: int = Field(ge=1, description="sequences generated at once")
    logit_tokens: int = Field(
        default=64, ge=1, description="tokens of one device whose logits exist at one time"
    )
    chip: Chip = Field(default="cpu", description="kind of device that mode=plan compiles for")
    hosts: int = Field(
        default=1, ge=1, description="processes that train together, each started by itself"
    )
    time_limit_hours: float | None = Field(
        default=None, gt=0, description="a session on this machine ends after this; null: never"
    )

    @property
    def devices(self) -> int:
        """Of all hosts together."""
        return self.fsdp * self.tp

    @property
    def rows_at_once(self) -> int:
        """Of all devices together, at most."""
        return self.fsdp * self.rows_per_micro_batch

    def micro_batches(self, rows: int) -> int:
        """Equal parts into which a step of so many rows is cut, one computed after another.

        A part has as many rows as divide those of a device and are at most rows_per_micro_batch:
        the batch never depends on the machine.
        """
        of_a_device = rows // self.fsdp
        at_once = min(self.rows_per_micro_batch, of_a_device)
        return of_a_device // max(n for n in range(1, at_once + 1) if of_a_device % n == 0)
