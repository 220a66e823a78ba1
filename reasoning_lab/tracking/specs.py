"""Where a run's metrics go besides its own folder."""

from typing import Literal

from pydantic import Field

from reasoning_lab.config import spec


@spec
class TrackingSpec:
    """Weights & Biases, or nothing."""

    wandb: bool = Field(description="log to Weights & Biases")
    project: str = Field(default="reasoning_lab", min_length=1, description="W&B project")
    entity: str | None = Field(default=None, description="W&B user or team; null: your own")
    mode: Literal["auto", "online", "offline"] = Field(
        default="auto", description="auto: online if there is an API key, otherwise offline"
    )
    group: str | None = Field(default=None, description="W&B group, to compare runs")
    tags: tuple[str, ...] = Field(default=(), description="W&B tags, as in [tag,tag]")
