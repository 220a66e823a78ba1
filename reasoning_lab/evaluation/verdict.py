"""The sentence for which one trains and compares: which of the models should be used?"""

from collections.abc import Mapping, Sequence
from math import floor, log10
from statistics import fmean

from reasoning_lab.evaluation.metrics import Scored
from reasoning_lab.evaluation.statistics import (
    PairedDifference,
    mean_interval,
    paired_difference,
    problems_needed,
)

_LEVEL = 0.05  # a difference with a p-value below it is taken for real
_SMALLEST_P = 1e-12  # below it the exponent only says how many problems there were


def verdict(
    judged: Mapping[str, Sequence[Scored]], *, trained: str, start_name: str, start_run: str | None
) -> str:
    """Whether the model just trained is better than the one it started from, in plain words.

    Better or worse means: by McNemar's exact test on right answers, p < 0.05. The trained model
    has to earn its place, so where the two cannot be told apart the start is the one to use,
    unless the trained one is well formed more often. Any other judged model that beats the one
    to use is named, and so is every domain in which the trained one earns less than the start.

    Only answers of which it can be said are right or wrong. If there are none, the rewards decide:
    better or worse then means that the 95% interval of the mean difference leaves 0 out.

    Args:
        judged: every model's judged completions by name, all of the same problems in one order.
        trained: the name of the model just trained, such as "GRPO".
        start_name: the name of the model it started from, such as "SFT" or "base, zero-shot".
        start_run: that model's run (path or id); None for a stock model.

    Raises:
        KeyError: no judged model has one of the names.
        ValueError: the models did not answer the same problems.
    """
    start = f"the {start_name} run {start_run}" if start_run else "the stock model"
    collapsed = _collapsed(judged[start_name], judged[trained])
    if all(one.correct is None for one in judged[trained]):
        return _by_reward(judged, trained, start_name, start) + collapsed
    change = _change(judged, start_name, trained, "correct")
    form = _change(judged, start_name, trained, "well_formed")
    facts = _facts(judged, start_name, trained, "correct")
    keeps = change.p_value < _LEVEL and change.difference > 0
    if keeps:
        text = f"{trained} beats {start_name}: {facts}"
        if _is_worse(form):
            text += f", but {_form(judged, start_name, trained)}"
        text += ": use this run."
    elif change.p_value < _LEVEL:
        text = f"{trained} is worse than {start_name}: {facts}: use {start}."
    else:
        text = f"{trained} cannot be told apart from {start_name}: {facts}; {_needed(change)}"
        if _is_worse(form):
            text += f"; and {_form(judged, start_name, trained)}: use {start}."
        elif form.p_value < _LEVEL:
            text += f"; but {_form(judged, start_name, trained)}: "
            text += f"use this run if the format matters to you, otherwise {start}."
        else:
            text += f": use {start}."
    others = [name for name in judged if name not in (trained, start_name)]
    return text + _still_better(judged, trained if keeps else start_name, others) + collapsed


def _by_reward(
    judged: Mapping[str, Sequence[Scored]], trained: str, start_name: str, start: str
) -> str:
    before, after = judged[start_name], judged[trained]
    low, high = _reward_change(before, after)
    facts = f"{_reward(after):.2f} against {_reward(before):.2f} reward on {len(after)} problems"
    facts += f" (95% of the change {low:+.2f} to {high:+.2f})"
    if low > 0:
        return f"{trained} earns more than {start_name}: {facts}: use this run."
    if high < 0:
        return f"{trained} earns less than {start_name}: {facts}: use {start}."
    return f"{trained} cannot be told apart from {start_name}: {facts}: use {start}."


def _collapsed(before: Sequence[Scored], after: Sequence[Scored]) -> str:
    """Domains in which the reward surely fell, in a sentence each; "" if there are none."""
    sentences = []
    for domain in dict.fromkeys(one.domain for one in after):
        then, now = ([s for s in scored if s.domain == domain] for scored in (before, after))
        if any(one.reward is None for one in (*then, *now)):
            continue
        low, high = _reward_change(then, now)
        if high < 0:
            sentences.append(
                f" In {domain} its reward fell from {_reward(then):.2f} to {_reward(now):.2f} "
                f"(95% of the change {low:+.2f} to {high:+.2f})."
            )
    return "".join(sentences)


def _reward(scored: Sequence[Scored]) -> float:
    return fmean(one.reward or 0.0 for one in scored)


def _reward_change(before: Sequence[Scored], after: Sequence[Scored]) -> tuple[float, float]:
    """95% interval of the mean difference, problem by problem."""
    pairs = zip(before, after, strict=True)
    return mean_interval([(new.reward or 0.0) - (old.reward or 0.0) for old, new in pairs])


def _change(
    judged: Mapping[str, Sequence[Scored]], before: str, after: str, metric: str
) -> PairedDifference:
    first, second = judged[before], judged[after]
    if [one.example_id for one in first] != [one.example_id for one in second]:
        raise ValueError(f"{before} and {after} did not answer the same problems")
    return paired_difference(told(first, metric), told(second, metric))


def told(scored: Sequence[Scored], metric: str) -> list[bool]:
    """A metric of all completions of which it can be said."""
    return [value for one in scored if (value := getattr(one, metric)) is not None]


def _is_worse(change: PairedDifference) -> bool:
    return change.p_value < _LEVEL and change.difference < 0


def _facts(judged: Mapping[str, Sequence[Scored]], before: str, after: str, metric: str) -> str:
    """61% against 44% correct on 256 problems, +17 points (95% 11 to 23), McNemar p = 2e-7."""
    change = _change(judged, before, after, metric)
    old, new = (sum(told(judged[name], metric)) for name in (before, after))
    points = f"{100 * change.difference:+.0f}"
    return (
        f"{new / change.problems:.0%} against {old / change.problems:.0%} "
        f"{metric.replace('_', ' ')} on {change.problems} problems, "
        f"{'no change' if points in ('+0', '-0') else points + ' points'} "
        f"(95% {100 * change.low:.0f} to {100 * change.high:.0f}), "
        f"McNemar {format_p(change.p_value)}"
    )


def _form(judged: Mapping[str, Sequence[Scored]], before: str, after: str) -> str:
    change = _change(judged, before, after, "well_formed")
    often = "more often" if change.difference > 0 else "less often"
    return f"it is well formed {often}: {_facts(judged, before, after, 'well_formed')}"


def _needed(change: PairedDifference) -> str:
    needed = problems_needed(change)
    if needed is None:
        return "as many problems were won as lost"
    # The formula is an approximation; that these problems were too few is a fact.
    needed = max(needed, change.problems + 1)
    return (
        f"to tell a difference of this size apart about {_two_digits(needed):,} problems would be "
        "needed"
    )


def _two_digits(number: int) -> int:
    """Rounded up to two significant digits, since the estimate has no more."""
    step: int = 10 ** max(0, floor(log10(number)) - 1)
    return -(-number // step) * step


def _still_better(judged: Mapping[str, Sequence[Scored]], best: str, others: Sequence[str]) -> str:
    sentences = [
        f" Yet {name} beats {best}: {_facts(judged, best, name, 'correct')}."
        for name in others
        if (change := _change(judged, best, name, "correct")).p_value < _LEVEL
        and change.difference > 0
    ]
    return "".join(sentences)


def format_p(p_value: float) -> str:
    """ "p = 0.031", "p = 2.3e-7" or "p < 1e-12"."""
    if p_value < _SMALLEST_P:
        return f"p < {_SMALLEST_P:.0g}"
    return f"p = {p_value:.2g}".replace("e-0", "e-")
