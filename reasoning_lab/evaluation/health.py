"""Warnings while reinforcement learning goes on: what looks wrong, and what to do about it."""

import re
from collections.abc import Mapping
from math import isfinite, sqrt
from statistics import fmean, variance

_FIRST = 10  # steps whose average says what was normal at the beginning
_RECENT = 5  # steps whose average says what is so now: one odd step is no news
_TREND = 20  # steps on each side of a comparison of rewards, which are noisy
_QUIET = 10  # steps a condition must be gone before its return is told

_MOST_TRUNCATED = 0.5
_DRIFT = 2.0
_MOST_KL = 0.5  # nats per token
_KL_GROWTH = 1.2  # times what it was _TREND steps before
_LEAST_ENTROPY = 0.1  # of the first steps' average
_MOST_CLIPPED = 0.3
_SURE = 5.0  # standard errors: high, as the best steps so far were picked with hindsight
_LEAST_FALL = 0.05  # share of right answers
_OF_DOMAIN = {"reward": "reward", "well_formed": "share of well-formed completions"}


class Health:
    """Looks at the metrics of each step of one run and says once what looks wrong.

    Metrics are named as in metrics.jsonl; a check whose metrics are missing is left out. A resumed
    run begins anew, or knows what was before if the earlier records are observed again first.
    """

    def __init__(self) -> None:
        self._series: dict[str, list[float]] = {}
        self._last_seen: dict[str, int] = {}  # kind of warning -> step at which it last held
        self._best: tuple[list[float], list[float]] | None = None  # correct and reward, at best

    def observe(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """Warnings that are new at this step: each names key, value and a remedy.

        Args:
            step: number of the step, from 1.
            metrics: shares between 0 and 1; lengths in tokens; KL and entropy in nats per token.
        """
        for key, value in metrics.items():
            if isfinite(value):
                self._series.setdefault(key, []).append(value)
        found = {
            "dead groups": self._dead_groups(),
            "length": self._length_drift(),
            "truncation": self._truncation(),
            "KL": self._running_away(),
            "clipping": self._clipping(),
            "entropy": self._entropy_collapse(),
            "gradient": self._no_gradient(),
            "reward hacking": self._reward_hacking(),
            **self._collapsing_domains(),
        }
        warnings = []
        for kind, message in found.items():
            if message is None:
                continue
            before = self._last_seen.get(kind)
            if before is None or step - before > _QUIET:
                warnings.append(f"step {step}: {message}")
            self._last_seen[kind] = step
        return warnings

    def _now(self, key: str) -> float | None:
        """Average of the newest steps; None while there are too few."""
        values = self._series.get(key, [])
        return fmean(values[-_RECENT:]) if len(values) >= _RECENT else None

    def _at_first(self, key: str) -> float | None:
        """Average of the first steps; None until as many others have come as make up "now"."""
        values = self._series.get(key, [])
        return fmean(values[:_FIRST]) if len(values) >= _FIRST + _RECENT else None

    def _dead_groups(self) -> str | None:
        dead = self._now("groups/dead")
        if dead is None or dead < 1:
            return None
        says = f"groups/dead=1: for {_RECENT} steps no group had a signal, so nothing was learned."
        right, wrong = (self._now(f"groups/all_{what}") or 0.0 for what in ("right", "wrong"))
        if wrong > 0.5:
            return (
                f"{says} All completions are wrong in most groups (groups/all_wrong={wrong:.2f}): "
                "the model cannot do these problems or does not know the format. Start from an "
                "SFT run with init_from=RUN, or choose easier problems with data=NAME."
            )
        if right > 0.5:
            return (
                f"{says} All completions are right in most groups (groups/all_right={right:.2f}): "
                "there is nothing left to learn here. Choose harder problems with data=NAME."
            )
        return (
            f"{says} The completions of a group are too much alike. Raise stage.temperature or "
            "stage.num_generations."
        )

    def _length_drift(self) -> str | None:
        first, now = self._at_first("completion/length"), self._now("completion/length")
        if not first or now is None:
            return None
        was = f"against {first:.0f} in the first {_FIRST} steps"
        if now >= _DRIFT * first:
            return (
                f"completion/length={now:.0f} tokens {was}: completions ramble, or reason at "
                "greater length. Read some of them; if they ramble, raise stage.beta or lower "
                "stage.learning_rate, otherwise raise stage.max_completion_length."
            )
        if now <= first / _DRIFT:
            return (
                f"completion/length={now:.0f} tokens {was}: the reasoning is being dropped. Raise "
                "stage.beta or lower stage.learning_rate, and see whether a reward pays for "
                "short completions."
            )
        return None

    def _truncation(self) -> str | None:
        now = self._now("completion/truncated")
        if now is not None and now > _MOST_TRUNCATED:
            return (
                f"completion/truncated={now:.2f}: most completions do not come to an end, and "
                "those count as wrong. Raise stage.max_completion_length; a model that never ends "
                "needs an SFT run first (init_from=RUN)."
            )
        return None

    def _running_away(self) -> str | None:
        values, now = self._series.get("train/kl", []), self._now("train/kl")
        if now is None or now <= _MOST_KL:
            return None
        before = values[-_RECENT - _TREND : -_TREND]  # fewer or none early on: it began at zero
        if now > _KL_GROWTH * (fmean(before) if before else 0.0):
            return (
                f"train/kl={now:.2f} nats per token and growing: the policy runs away from where "
                "it started. Raise stage.beta or lower stage.learning_rate."
            )
        return None

    def _clipping(self) -> str | None:
        now = self._now("train/clip_fraction")
        if now is not None and now > _MOST_CLIPPED:
            return (
                f"train/clip_fraction={now:.2f}: the policy moves too far for the completions it "
                "learns from. Lower stage.learning_rate."
            )
        return None

    def _entropy_collapse(self) -> str | None:
        first, now = self._at_first("train/entropy"), self._now("train/entropy")
        if first and now is not None and now < _LEAST_ENTROPY * first:
            return (
                f"train/entropy={now:.3g} nats per token against {first:.3g} in the first {_FIRST} "
                "steps: the completions of a group become the same. Raise stage.temperature or "
                "stage.beta, or lower stage.learning_rate."
            )
        return None

    def _no_gradient(self) -> str | None:
        # Dead groups have no gradient, and a warning of their own.
        if self._now("train/grad_norm") == 0 and self._now("groups/dead") != 1:
            return (
                f"train/grad_norm=0 for {_RECENT} steps: nothing is learned. Look at groups/dead "
                "and completion/truncated; raise stage.num_generations or stage.temperature for "
                "completions that differ."
            )
        return None

    def _reward_hacking(self) -> str | None:
        correct, reward = (
            self._series.get(key, [])[-_TREND:] for key in ("rollout/correct", "reward/total")
        )
        if min(len(correct), len(reward)) < _TREND:
            return None
        if self._best is None or fmean(correct) >= fmean(self._best[0]):
            self._best = correct, reward
        best_correct, its_reward = self._best
        fell = fmean(best_correct) - fmean(correct) > _LEAST_FALL
        if fell and _surely_grew(correct, best_correct) and _surely_grew(its_reward, reward):
            return (
                f"reward/total={fmean(reward):.3g}, up from {fmean(its_reward):.3g}, while "
                f"rollout/correct={fmean(correct):.2f} is down from {fmean(best_correct):.2f}: "
                "something else than right answers is rewarded. See which reward/<name> grows and "
                "lower reward.<name>.weight, or raise stage.beta."
            )
        return None

    def _collapsing_domains(self) -> dict[str, str | None]:
        """Domains whose reward or format falls while another one's reward rises."""
        first = {key: values[:_TREND] for key, values in self._series.items()}
        last = {
            key: values[-_TREND:]
            for key, values in self._series.items()
            if len(values) >= 2 * _TREND
        }
        domains = [key.split("/")[1] for key in last if re.fullmatch("domain/.*/reward", key)]
        rewards = {domain: f"domain/{domain}/reward" for domain in domains}
        rising = [name for name, key in rewards.items() if _surely_grew(first[key], last[key])]
        found: dict[str, str | None] = {}
        for domain in domains:
            for metric, words in _OF_DOMAIN.items():
                key = f"domain/{domain}/{metric}"
                others = [name for name in rising if name != domain]
                if others and key in last and _surely_grew(last[key], first[key]):
                    found[f"collapse of {domain}"] = (
                        f"{domain} collapses: its {words} fell from {fmean(first[key]):.2f} to "
                        f"{fmean(last[key]):.2f} ({key}) while {', '.join(others)} improved. Raise "
                        "its weight in data.weights or stage.beta, or lower stage.learning_rate."
                    )
        return found


def _surely_grew(before: list[float], after: list[float]) -> bool:
    """Whether the mean of `after` is higher by more than noise from step to step explains."""
    error = sqrt((variance(before) + variance(after)) / _TREND)
    return fmean(after) - fmean(before) > _SURE * error
