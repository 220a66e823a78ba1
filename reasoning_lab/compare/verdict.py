"""Which setting to use, in plain words, and only as far as the runs support it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from reasoning_lab.compare.comparison import Axis, ComparedRun, Effect, Setting, Verdict
from reasoning_lab.compare.effects import Findings
from reasoning_lab.compare.find import Sweep
from reasoning_lab.compare.inference import LEVEL
from reasoning_lab.compare.next_run import MOST_MORE_SEEDS, advise, more_seeds
from reasoning_lab.compare.scores import Scoring
from reasoning_lab.compare.wording import (
    counted,
    difference_interval_text,
    difference_text,
    estimate_text,
    in_a_row,
    score_text,
)
from reasoning_lab.evaluation.statistics import mean_interval
from reasoning_lab.evaluation.verdict import format_p

_CHEAPER = 0.95  # of the minutes of the leading setting; what is nearer to it costs the same
_ENDED = "done"


def give_verdict(
    findings: Findings,
    runs: Sequence[ComparedRun],
    axes: Sequence[Axis],
    scoring: Scoring,
    sweep: Sweep | None,
) -> Verdict:
    """Name the setting that beats all others, or those that cannot be told from the top one.

    A setting wins if its difference to each other one has an adjusted p-value below 0.05. All
    pairs were adjusted for together, so looking for the best first is allowed for.
    """
    scored = [setting for setting in findings.settings if setting.estimate is not None]
    winner, contenders = _top(findings, scored)
    advice = advise(findings, runs, axes, sweep, winner=winner, contenders=contenders)
    details = [
        *_on_start(scored[:1], scoring),
        *_on_contenders(contenders, scoring),
        *_on_axes(findings, scoring),
        *_on_states(runs, scoring),
        *scoring.notes,
    ]
    return Verdict(
        headline=_headline(findings, runs, scored, winner, contenders, scoring),
        details=tuple(details),
        winner=winner.label if winner else None,
        contenders=tuple(setting.label for setting in contenders),
        next_command=advice.command,
        next_reason=advice.reason,
    )


def _top(
    findings: Findings, scored: Sequence[Setting]
) -> tuple[Setting | None, tuple[Setting, ...]]:
    """The winner if there is one, and what cannot be told from the top one, that one first."""
    if len(scored) < 2:
        return None, tuple(scored)
    if not findings.same_problems:
        return None, tuple(scored)
    beaten = {
        pair.other
        for pair in findings.pairs
        if pair.better == scored[0].label and pair.p_value < LEVEL
    }
    contenders = [scored[0], *(one for one in scored[1:] if one.label not in beaten)]
    return (contenders[0] if len(contenders) == 1 else None), tuple(contenders)


def _headline(
    findings: Findings,
    runs: Sequence[ComparedRun],
    scored: Sequence[Setting],
    winner: Setting | None,
    contenders: Sequence[Setting],
    scoring: Scoring,
) -> str:
    metric = scoring.metric
    if not scored:
        ended = sum(run.state == _ENDED for run in runs)
        if ended:
            return f"None of the {counted(ended, 'run')} that ended can be scored ({metric.label})."
        return f"None of {counted(len(runs), 'run')} has ended, so there is nothing to compare."
    top = scored[0]
    score = f"{estimate_text(top.estimate, metric)} ({metric.label})"
    if len(scored) == 1:
        return f"Only {top.label} has a score, {score}: there is nothing to compare it with."
    if not findings.same_problems:
        return (
            "The runs did not answer the same problems, so a higher score may only mean easier "
            f"problems: nothing is recommended. The highest is {top.label}, {score}."
        )
    rest = len(scored) - 1
    others = "the other setting" if rest == 1 else f"each of the {rest} other settings"
    if len(findings.settings) > len(scored):
        others += " with a score"
    if winner is not None:
        p_value = max(pair.p_value for pair in findings.pairs if pair.better == top.label)
        facts = f"{score}, better than {others} (adjusted {format_p(p_value)})"
        if findings.basis == "seeds":
            return f"Use {top.label}: {facts}."
        return (
            f"The model trained with {top.label} is the best of these: {facts}. With one seed "
            "this compares trained models, not settings."
        )
    return _undecided(findings, top, contenders, scoring)


def _undecided(
    findings: Findings, top: Setting, contenders: Sequence[Setting], scoring: Scoring
) -> str:
    names = in_a_row(["it", *(one.label for one in contenders[1:])])
    text = (
        f"{top.label} leads with {estimate_text(top.estimate, scoring.metric)} "
        f"({scoring.metric.label}), but {names} cannot be told apart"
    )
    if findings.basis is None:
        return f"{text}: without seeds or problems in common nothing says how large the noise is."
    if findings.basis == "problems":
        return f"{text}. With one seed this compares trained models, not settings."
    more = more_seeds(findings.pairs, contenders)
    if len(more) < len(contenders) - 1 or max(more.values()) > MOST_MORE_SEEDS:
        return f"{text}, and {MOST_MORE_SEEDS} more seeds each would not do it."
    return f"{text}: about {counted(max(more.values()), 'more seed')} each would."


def _on_start(top: Sequence[Setting], scoring: Scoring) -> Iterator[str]:
    """Whether the leading setting's models are better than what their training began with.

    Problem by problem, over all its seeds; being the leading one flatters it a little.
    """
    changes, before, names = [], [], []
    for run in (run for setting in top for run in setting.runs):
        start, trained = scoring.before(run), scoring.of_problems(run)
        common = [key for key in trained if key in start]
        before += [start[key][1] for key in common]
        changes += [trained[key][1] - start[key][1] for key in common]
        names += [run.start_name] if common else []
    if not changes:
        return
    metric, change = scoring.metric, fmean(changes)
    low, high = mean_interval(changes)
    facts = (
        f"{score_text(fmean(before), metric)} before, {difference_text(change, metric)} "
        f"(95% {difference_interval_text(low, high, metric)}, over problems)"
    )
    began = f"what its training began with ({names[0]})"
    if (low > 0) if metric.higher_is_better else (high < 0):
        yield f"It is better than {began}: {facts}."
    else:
        yield f"It is not shown to be better than {began}: {facts}."


def _on_contenders(contenders: Sequence[Setting], scoring: Scoring) -> Iterator[str]:
    """The cheapest of them, if it is not the leading one that is."""
    if len(contenders) < 2:
        return
    minutes = {one.label: _minutes(one, scoring) for one in contenders}
    top, cheapest = contenders[0], min(contenders, key=lambda one: minutes[one.label])
    if 0 < minutes[cheapest.label] < _CHEAPER * minutes[top.label]:
        assert cheapest.estimate is not None
        yield (
            f"The cheapest of these is {cheapest.label}: {minutes[cheapest.label]:.1f} "
            f"device-minutes a run, against {minutes[top.label]:.1f} of {top.label}, for "
            f"{score_text(cheapest.estimate.mean, scoring.metric)}."
        )


def _minutes(setting: Setting, scoring: Scoring) -> float:
    """Device-minutes of one run, mean over those with a score."""
    return fmean(run.device_minutes for run in setting.runs if scoring.of(run) is not None)


def _on_axes(findings: Findings, scoring: Scoring) -> Iterator[str]:
    if not findings.same_problems:
        return
    by_axis: dict[str, list[Effect]] = {}
    for effect in findings.effects:
        by_axis.setdefault(effect.axis, []).append(effect)
    without = []
    for axis, effects in by_axis.items():
        real = [effect for effect in effects if effect.p_value < LEVEL]
        if real:
            yield _real_effects(axis, real, findings, scoring)
        else:
            without.append(axis)
    if without:
        yield (
            f"No effect is found of {in_a_row(without)}, which does not mean that there is none."
        )
    if findings.inseparable:
        yield (
            f"The effects of {in_a_row(findings.inseparable)} cannot be told apart: no runs "
            "differ in one of them alone."
        )


def _real_effects(
    axis: str, effects: Sequence[Effect], findings: Findings, scoring: Scoring
) -> str:
    metric = scoring.metric
    facts = [
        f"{effect.value} gives {difference_text(effect.difference, metric)} over "
        f"{effect.reference} "
        f"(95% {difference_interval_text(effect.low, effect.high, metric)}, "
        f"adjusted {format_p(effect.p_value)})"
        for effect in effects
    ]
    between = " between these models" if findings.basis == "problems" else ""
    return f"{axis} makes a difference{between}: {'; '.join(facts)}."


def _on_states(runs: Sequence[ComparedRun], scoring: Scoring) -> Iterator[str]:
    """How many runs have not ended well, by state; and which ended without a score."""
    words = {"waiting": "not started", "running": "still running"}
    count = Counter(run.state for run in runs if run.state != _ENDED)
    if count:
        parts = [f"{number} {words.get(state, state)}" for state, number in count.most_common()]
        yield f"Of {counted(len(runs), 'run')}, {in_a_row(parts)}."
    unscored = [run.name for run in runs if run.state == _ENDED and scoring.of(run) is None]
    if unscored:
        yield f"Ended, but without a score: {in_a_row(unscored)}."
