"""Search with Optuna: a sampler proposes settings, and successive halving says which go on.

Asynchronous successive halving (ASHA; Li et al. 2020, arXiv 1810.05934, algorithm 2). A setting is
trained to the first rung and paused; one in `reduction_factor` of those that reached a rung is
resumed to the next. Here no run is lost by that: it goes on from its checkpoint, bit for bit.

Every job, from one rung to the next, is a trial of an Optuna study in the sweep's folder, so that
optuna-dashboard shows it and a search that was stopped goes on. Left out on purpose: pruners of
Optuna, which stop a run for good.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Any

from reasoning_lab.config import ConfigError
from reasoning_lab.config.axes import Axis
from reasoning_lab.experiment import Experiment
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import read_series
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec
from reasoning_lab.sweeps.specs import AshaSpec

_RUNGS = 3  # judged at, the last step included, where first_rung is not given


@dataclass(frozen=True)
class Goal:
    """What settings are judged by."""

    metric: str
    maximize: bool

    @classmethod
    def of(cls, spec: AshaSpec, experiment: Experiment) -> "Goal":
        by_stage = "eval/score" if isinstance(experiment.stage, GRPOSpec) else "eval/loss"
        metric = spec.metric or by_stage
        direction = spec.direction or ("minimize" if "loss" in metric else "maximize")
        return cls(metric, direction == "maximize")


def rungs(spec: AshaSpec, experiment: Experiment) -> list[int]:
    """Steps at which settings are judged, in ascending order; the last one is the last step.

    Where the metric is only measured now and then, they are moved up to the next such step.

    Raises:
        ConfigError: nothing is measured on the way.
    """
    stage = experiment.stage
    assert isinstance(stage, GRPOSpec | SFTSpec)
    if stage.max_steps is None:
        raise ConfigError("sweep=asha needs to know the last step. Use stage.max_steps=N.")
    every = 1
    if Goal.of(spec, experiment).metric.startswith("eval/"):
        every = stage.eval_every
        if not every:
            raise ConfigError(
                f"sweep.metric={Goal.of(spec, experiment).metric} is never measured with "
                "stage.eval_every=0. Use a stage.eval_every above 0, or another sweep.metric."
            )
    factor, last = spec.reduction_factor, stage.max_steps
    step = spec.first_rung or ceil(last / factor ** (_RUNGS - 1))
    found = []
    while step < last:
        rounded = ceil(step / every) * every
        if rounded < last and rounded not in found:
            found.append(rounded)
        step *= factor
    return [*found, last]


@dataclass
class Candidate:
    """One setting: what it is, how it did at each rung it has reached, and whether it failed."""

    params: dict[str, Any]
    run: str
    values: dict[int, float]
    failed: bool = False


@dataclass(frozen=True)
class Job:
    """A setting that is to be trained to a rung; `trial` is its trial of the study."""

    trial: Any
    params: Mapping[str, Any]
    rung: int


class Search:
    """The study in a sweep's folder: what has been tried, and what comes next.

    Args:
        path: of the journal that keeps the study; made if missing.
        axes: by key.
        steps: of the rungs.
        seed: of the sampler. What it proposes depends on that and on the trials before.
    """

    def __init__(
        self,
        path: Path,
        axes: Mapping[str, Axis],
        spec: AshaSpec,
        goal: Goal,
        steps: Sequence[int],
        *,
        seed: int,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        self._study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name=path.parent.name,
            direction="maximize" if goal.maximize else "minimize",
            load_if_exists=True,
        )
        self._axes, self._spec, self._goal = axes, spec, goal
        self._steps, self._seed = list(steps), seed
        self._check_space()

    def next_jobs(self) -> list[Job]:
        """As many as are to run at once; those that were under way when a search was stopped come
        first. None when the search is over."""
        jobs = [self._job_of(trial) for trial in self._under_way()]
        while len(jobs) < self._spec.at_once and (job := self._next_job()) is not None:
            jobs.append(job)
        return jobs

    def begin(self, job: Job, folder: RunFolder) -> bool:
        """Put down which run a job's setting is trained in; whether there is anything to do: the
        sampler may propose what has been tried."""
        job.trial.set_user_attr("run", folder.id)
        return measured(folder, self._goal.metric, job.rung, exactly=True) is None

    def end(self, job: Job, folder: RunFolder) -> None:
        """Judge a job by what its run has recorded; a run without a finite value has failed."""
        import optuna

        value = measured(folder, self._goal.metric, job.rung, exactly=False)
        if value is None:
            self._study.tell(job.trial, state=optuna.trial.TrialState.FAIL)
            return
        job.trial.report(value, job.rung)
        if job.rung == self._steps[-1]:
            self._study.tell(job.trial, value)
        else:
            self._study.tell(job.trial, state=optuna.trial.TrialState.PRUNED)

    def candidates(self) -> list[Candidate]:
        """All settings tried, in the order in which they were proposed."""
        found: dict[str, Candidate] = {}
        for trial in self._trials():
            run = trial.user_attrs.get("run")
            if run is None:
                continue
            one = found.setdefault(run, Candidate(dict(trial.params), run, {}))
            one.values |= trial.intermediate_values
            one.failed |= trial.state.name == "FAIL"
        return list(found.values())

    def _next_job(self) -> Job | None:
        if (promoted := self._to_promote()) is not None:
            return promoted
        proposed = sum(t.user_attrs.get("rung") == self._steps[0] for t in self._trials())
        if proposed < self._spec.trials:
            return self._proposed()
        return None if self._under_way() else self._leader_to_the_end()

    def _to_promote(self) -> Job | None:
        """From the highest rung down: one of the best part of it that has not gone on yet."""
        for rung, following in reversed(list(zip(self._steps, self._steps[1:], strict=False))):
            reached = self._ranked(rung)
            best = reached[: len(reached) // self._spec.reduction_factor]
            for one in best:
                if following not in one.values and not one.failed and not self._is_under_way(one):
                    return self._resumed(one, following)
        return None

    def _leader_to_the_end(self) -> Job | None:
        """With few trials no rung is wide enough to promote from: then the best one goes on alone,
        so that a search ends with a finished run."""
        alive = [one for one in self.candidates() if one.values and not one.failed]
        highest = max((max(one.values) for one in alive), default=self._steps[-1])
        if highest == self._steps[-1]:
            return None
        leader = next(one for one in self._ranked(highest) if not one.failed)
        return self._resumed(leader, self._steps[self._steps.index(highest) + 1])

    def _ranked(self, rung: int) -> list[Candidate]:
        """Settings that have reached a rung, best first."""
        reached = [one for one in self.candidates() if rung in one.values]
        return sorted(reached, key=lambda one: one.values[rung], reverse=self._goal.maximize)

    def _proposed(self) -> Job:
        """A new setting, the same for the same trials before, whatever was restarted."""
        import optuna

        number = len(self._trials())
        seed = zlib.crc32(f"{self._seed}:{number}".encode())
        self._study.sampler = optuna.samplers.TPESampler(
            seed=seed, constant_liar=self._spec.at_once > 1, n_startup_trials=5
        )
        trial = self._study.ask(self._space())
        trial.set_user_attr("rung", self._steps[0])
        return Job(trial, trial.params, self._steps[0])

    def _resumed(self, candidate: Candidate, rung: int) -> Job:
        self._study.enqueue_trial(candidate.params)
        trial = self._study.ask(self._space())
        trial.set_user_attr("rung", rung)
        trial.set_user_attr("run", candidate.run)
        return Job(trial, trial.params, rung)

    def _job_of(self, frozen: Any) -> Job:
        """A job that was under way when the search was stopped."""
        import optuna

        trial = optuna.trial.Trial(self._study, frozen._trial_id)
        rung = frozen.user_attrs.get("rung", self._steps[0])
        return Job(trial, frozen.params, rung)

    def _is_under_way(self, candidate: Candidate) -> bool:
        return any(t.user_attrs.get("run") == candidate.run for t in self._under_way())

    def _under_way(self) -> list[Any]:
        return [trial for trial in self._trials() if trial.state.name == "RUNNING"]

    def _trials(self) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False))

    def _space(self) -> dict[str, Any]:
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        space: dict[str, Any] = {}
        for key, axis in self._axes.items():
            if axis.values:
                space[key] = CategoricalDistribution(axis.values)
            else:
                assert axis.low is not None
                assert axis.high is not None
                space[key] = FloatDistribution(axis.low, axis.high, log=axis.log)
        return space

    def _check_space(self) -> None:
        """Raises: ConfigError if the study in the folder searches another space or other rungs."""
        from optuna.distributions import distribution_to_json

        space = {key: distribution_to_json(one) for key, one in self._space().items()}
        now = {"space": space, "rungs": self._steps, "metric": self._goal.metric}
        before = self._study.user_attrs.get("search", now)
        if different := [name for name in now if before[name] != now[name]]:
            raise ConfigError(
                f"The search in this sweep's folder has another {', '.join(different)}. "
                "Choose another sweep.name."
            )
        self._study.set_user_attr("search", now)


def measured(folder: RunFolder, metric: str, step: int, *, exactly: bool) -> float | None:
    """The value of a metric at a step or else, unless `exactly`, the newest one before it; None
    where that is no finite number."""
    points = [point for point in read_series(folder.metrics_path, metric) if point.step <= step]
    if not points or not isfinite(points[-1].value) or (exactly and points[-1].step < step):
        return None
    return points[-1].value
