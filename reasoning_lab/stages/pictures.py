"""Which metrics a stage's report draws."""

import re
from collections.abc import Sequence

from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import read_names
from reasoning_lab.runs.report import Picture

SFT_PICTURES = (
    Picture("Loss", "Loss (nats per token)", {"training": "train/loss", "held-out": "eval/loss"}),
)


def grpo_pictures(folder: RunFolder) -> Sequence[Picture]:
    """What to draw of a run of GRPO, with every reward that its metrics.jsonl names."""
    names = read_names(folder.metrics_path)
    rewards = [name for name in names if name.startswith("reward/")]
    parts = [name for name in rewards if name not in ("reward/total", "reward/std_in_group")]
    return (
        *_by_domain(names),
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


def _by_domain(names: Sequence[str]) -> list[Picture]:
    """Curves of each domain, where there are several."""
    # Sorted, so that a domain has the same colour in all pictures.
    domains = sorted(
        name.removeprefix("domain/").removesuffix("/reward")
        for name in names
        if re.fullmatch("domain/.+/reward", name)
    )
    if len(domains) < 2:
        return []

    def of_domains(metric: str) -> dict[str, str]:
        return {domain: f"domain/{domain}/{metric}" for domain in domains}

    return [
        Picture(
            "Held-out reward by domain",
            "Reward of greedy answers (mean)",
            {domain: f"eval/{domain}/reward" for domain in domains},
            text="Domains have rewards of their own: compare a curve with itself alone.",
        ),
        Picture("Reward by domain", "Reward (mean over completions)", of_domains("reward")),
        Picture("Format by domain", "Well-formed completions (share)", of_domains("well_formed")),
        Picture(
            "Share of each domain",
            "Problems of a step (share)",
            of_domains("wanted" if f"domain/{domains[0]}/wanted" in names else "share"),
            text="In the adaptive mode, domains are drawn more often while they teach something.",
        ),
    ]
