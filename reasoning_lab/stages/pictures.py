"""Which metrics a stage's report draws."""

from collections.abc import Sequence

from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import read_names
from reasoning_lab.runs.report import Picture

SFT_PICTURES = (
    Picture("Loss", "Loss (nats per token)", {"training": "train/loss", "held-out": "eval/loss"}),
)


def grpo_pictures(folder: RunFolder) -> Sequence[Picture]:
    """What to draw of a run of GRPO, with every reward that its metrics.jsonl names."""
    rewards = [name for name in read_names(folder.metrics_path) if name.startswith("reward/")]
    parts = [name for name in rewards if name not in ("reward/total", "reward/std_in_group")]
    return (
        Picture(
            "Held-out accuracy",
            "Held-out problems answered right (share)",
            {"correct": "eval/correct"},
            bands={"correct": ("eval/correct_low", "eval/correct_high")},
            text="Greedy answers; the band is the 95% interval.",
        ),
        Picture(
            "Reward",
            "Reward (mean over completions)",
            {name.removeprefix("reward/"): name for name in ("reward/total", *parts)},
            text="What is maximised is the total: the sum of the others times their weights.",
        ),
        Picture(
            "Groups without a signal",
            "Groups (share)",
            {
                "all right": "groups/all_right",
                "all wrong": "groups/all_wrong",
                "otherwise alike": "groups/all_equal",
            },
            text="A group whose completions all earn the same reward teaches nothing.",
        ),
        Picture(
            "Completion length",
            "Completion length (tokens, mean)",
            {"length": "completion/length"},
        ),
        Picture(
            "KL",
            "KL divergence (nats per token)",
            {"KL": "train/kl"},
            text="How far the policy has moved from the one it started from.",
        ),
        Picture(
            "Entropy",
            "Entropy (nats per token)",
            {"entropy": "train/entropy"},
            text="How open the next token is; near 0 all completions of a group become the same.",
        ),
    )
