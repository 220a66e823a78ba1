"""How a sweep goes through its runs."""

from typing import Literal

from pydantic import Field

from reasoning_lab.config import spec


@spec
class SweepSpec:
    """A grid: every combination of the values given."""

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="the sweep's folder in runs_dir/sweeps; null: made from what is swept",
    )
    retry_failed: bool = Field(
        default=False, description="try runs again that failed; those interrupted always go on"
    )


@spec
class AshaSpec(SweepSpec):
    """Successive halving of settings that a TPE sampler proposes, with Optuna."""

    trials: int = Field(default=20, ge=1, description="settings that are tried")
    metric: str | None = Field(
        default=None,
        description="what settings are judged by; null: eval/score in grpo, eval/loss in sft",
    )
    direction: Literal["maximize", "minimize"] | None = Field(
        default=None, description="null: minimize a metric with loss in its name, else maximize"
    )
    reduction_factor: int = Field(
        default=3, ge=2, description="one in so many goes on from each rung to the next"
    )
    first_rung: int | None = Field(
        default=None,
        ge=1,
        description="step of the first judgement; null: that of three rungs",
    )
    at_once: int = Field(default=1, ge=1, description="runs given to the launcher at a time")
