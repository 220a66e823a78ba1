"""What each stage of training can be told."""

from typing import Literal

from pydantic import Field

from reasoning_lab.config import spec


@spec
class StageSpec:
    """AdamW with warm-up and cosine decay, and when to save: what all stages have in common."""

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
    checkpoint_every: int = Field(default=50, ge=1, description="steps between checkpoints")
    checkpoints_to_keep: int = Field(default=2, ge=1, description="older checkpoints are deleted")


@spec
class SFTSpec(StageSpec):
    """Supervised fine-tuning on packed rows."""

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


@spec
class GRPOSpec(StageSpec):
    """Group relative policy optimization (arXiv 2402.03300) and its relatives."""

    learning_rate: float = Field(default=3e-5, gt=0, description="peak learning rate")
    checkpoint_every: int = Field(default=10, ge=1, description="steps between checkpoints")
    max_steps: int = Field(
        default=100, ge=1, description="steps: each samples a batch and learns from it"
    )
    batch_size: int = Field(default=4, ge=1, description="problems of one step, over all devices")
    num_generations: int = Field(
        default=8, ge=2, description="completions of each problem: the group that is compared"
    )
    num_iterations: int = Field(default=1, ge=1, description="updates with each step's completions")
    beta: float = Field(default=0.04, ge=0, description="weight of the KL divergence; 0: none")
    kl_estimator: Literal["k3", "k1_in_reward"] = Field(
        default="k3", description="k3 in the loss, or -beta * k1 added to the reward"
    )
    epsilon: float = Field(
        default=0.2, gt=0, lt=1, description="the ratio of probabilities is clipped below 1 - this"
    )
    epsilon_high: float | None = Field(
        default=None, gt=0, description="and above 1 + this; null: as epsilon"
    )
    importance_ratio: Literal["token", "sequence"] = Field(
        default="token", description="ratio of each token, or one of the whole completion (GSPO)"
    )
    loss_aggregation: Literal["sequence_mean", "token_mean", "constant"] = Field(
        default="sequence_mean",
        description="mean of completions' means, mean over tokens, or sum by a constant (Dr. GRPO)",
    )
    normalise_by_std: bool = Field(
        default=True, description="divide advantages by the standard deviation of their group"
    )
    mask_truncated: bool = Field(
        default=False, description="do not learn from completions that ran out of tokens"
    )
    resample_dead_groups: int = Field(
        default=0, ge=0, description="times to sample other problems for groups of equal rewards"
    )
    temperature: float = Field(default=1.0, gt=0, description="of sampling, and in the loss too")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="sample from the likeliest tokens of this probability"
    )
    top_k: int = Field(
        default=0, ge=0, description="sample from this many of the likeliest tokens; 0: all"
    )
    max_prompt_length: int = Field(
        default=128, ge=2, description="tokens of a prompt; problems with longer ones are dropped"
    )
    max_completion_length: int = Field(default=128, ge=1, description="tokens sampled at most")
    end_after_answer: bool = Field(
        default=True, description="a completion ends one token after </answer>"
    )
    row_length: int | None = Field(
        default=None,
        ge=1,
        description="tokens of a row of the update, which a prompt's completions share; null: 512",
    )
    on_nan: Literal["stop", "skip"] = Field(
        default="stop", description="at a reward or gradient that is no number: stop, or go on"
    )
    reward_timeout: float = Field(
        default=120.0, gt=0, description="seconds that one reward may take"
    )
    eval_every: int = Field(
        default=20, ge=0, description="steps between evaluations, beside first and last; 0: none"
    )
    eval_problems: int = Field(
        default=32, ge=1, description="held-out problems of each source for these evaluations"
    )
    rollouts_every: int = Field(default=10, ge=1, description="steps between tables of rollouts")

    @property
    def tokens_in_a_row(self) -> int:
        return self.row_length or max(512, self.max_prompt_length + self.max_completion_length)

    @property
    def highest_ratio(self) -> float:
        return 1 + (self.epsilon if self.epsilon_high is None else self.epsilon_high)
