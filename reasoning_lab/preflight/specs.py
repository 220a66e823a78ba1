"""What `mode=plan` can be told."""

from pydantic import Field

from reasoning_lab.config import spec


@spec
class PlanSpec:
    """How a run is planned. Nothing here changes the run."""

    full: bool = Field(
        default=False, description="compile all layers (minutes), not a few and extrapolate"
    )
    margin: float = Field(
        default=0.15, ge=0, lt=1, description="share of the memory to leave free; less is tight"
    )
    efficiency: float = Field(
        default=0.35,
        gt=0,
        le=1,
        description="share of full speed that mode=fit reckons with until a run was measured",
    )
    save: str | None = Field(
        default=None, min_length=1, description="Markdown file that the plan is written to, too"
    )
