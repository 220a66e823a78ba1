"""What is measured before and after training."""

from pydantic import Field

from reasoning_lab.config import spec


@spec
class EvaluationSpec:
    """Held-out problems, answered greedily by the base and the tuned model."""

    problems: int = Field(default=32, ge=1, description="held-out problems of each source")
    max_completion_length: int = Field(
        default=128, ge=1, description="tokens generated at most for one problem"
    )
    few_shot: int = Field(
        default=4, ge=0, description="examples in the base model's few-shot prompt; 0: skip it"
    )
    pass_at: int = Field(
        default=1, ge=1, description="k: also sample k completions a problem, for pass@k; 1: do not"
    )
    temperature: float = Field(default=1.0, gt=0, description="of the completions for pass@k")
    baseline: bool = Field(default=True, description="evaluate the untuned model too")
    samples: int = Field(default=3, ge=0, description="completions printed at the end")
