"""What each stage of training can be told."""

from pydantic import Field

from reasoning_lab.config import spec


@spec
class SFTSpec:
    """Supervised fine-tuning with AdamW, warm-up and cosine decay, on packed rows."""

    learning_rate: float = Field(default=5e-4, gt=0, description="peak learning rate")
    warmup_ratio: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of steps in which the rate rises",
    )
    final_learning_rate_ratio: float = Field(
        default=0.0, ge=0, le=1, description="rate that the decay ends at, as a share of the peak"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's decoupled weight decay")
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="gradients are clipped to this global norm"
    )
    adam_b1: float = Field(default=0.9, ge=0, lt=1, description="AdamW's decay of the mean")
    adam_b2: float = Field(default=0.999, ge=0, lt=1, description="AdamW's decay of the variance")
    max_length: int = Field(
        default=256, ge=1, description="tokens in one packed row; longer examples are dropped"
    )
    batch_tokens: int = Field(
        default=512,
        ge=1,
        description="tokens of one optimizer step over all devices; a multiple of max_length",
    )
    packing: bool = Field(
        default=True, description="several examples share a row; false: one example a row"
    )
    epochs: float = Field(default=1.0, gt=0, description="passes over the training examples")
    max_steps: int | None = Field(
        default=None, ge=1, description="number of optimizer steps; if set, epochs is ignored"
    )
    eval_every: int = Field(default=0, ge=0, description="steps between held-out losses; 0: none")
    checkpoint_every: int = Field(default=50, ge=1, description="steps between checkpoints")
    checkpoints_to_keep: int = Field(default=2, ge=1, description="older checkpoints are deleted")
