"""A sweep from the command line to its comparison: skip, resume, run, watch, compare."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from reasoning_lab.config import RunError
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.sweeps import plan
from reasoning_lab.sweeps.folder import SweepFolder
from reasoning_lab.sweeps.plan import Point, Request
from reasoning_lab.sweeps.search import Goal, Search, rungs
from reasoning_lab.sweeps.specs import AshaSpec
from reasoning_lab.sweeps.state import RunState
from reasoning_lab.sweeps.view import SweepView, console_of_its_own, overall, watching

Launch = Callable[[Sequence[Point]], None]


def conduct(request: Request, launch: Launch) -> None:
    """Make all runs of a sweep that are not done, and compare them.

    Args:
        launch: makes runs wherever they are made, and returns when they have ended.

    Raises:
        ConfigError: a point is not valid, or the sweep's folder belongs to something else.
        RunError: runs have failed.
        KeyboardInterrupt: Ctrl-C; what was under way is saved.
    """
    folder = SweepFolder(request.path)
    points = plan.corners(request) if is_search(request) else plan.grid(request)
    with folder.alone(), console_of_its_own() as console:
        points = folder.at_home(points)
        view = SweepView(folder, [], console)
        try:
            with watching(view, console):
                if is_search(request):
                    _search(request, folder, view, launch, console)
                else:
                    _grid(request, points, folder, view, launch, console)
        except KeyboardInterrupt:
            stand = overall(view.states)
            console.print(f"Stopped: {stand}. The same command goes on.", soft_wrap=True)
            raise
        _finish(folder, view.states, console)


def is_search(request: Request) -> bool:
    return isinstance(request.base.sweep, AshaSpec)


def _grid(
    request: Request,
    points: Sequence[Point],
    folder: SweepFolder,
    view: SweepView,
    launch: Launch,
    console: Console,
) -> None:
    folder.add(points, plan.command())
    view.add(point.name for point in points)
    states = {state.name: state for state in view.states}
    retry = request.base.sweep.retry_failed
    todo = [p for p in points if is_to_do(states[p.name], retry_failed=retry)]
    _say_what_is_to_do(console, folder, view.states, len(todo))
    if todo:
        launch(todo)


def _search(
    request: Request, folder: SweepFolder, view: SweepView, launch: Launch, console: Console
) -> None:
    spec, base = request.base.sweep, request.base
    assert isinstance(spec, AshaSpec)
    goal, steps = Goal.of(spec, base), rungs(spec, base)
    path = folder.path / "study.journal"
    search = Search(path, request.axes, spec, goal, steps, seed=base.seed)
    where = ", ".join(map(str, steps))
    console.print(
        f"Sweep {folder.path}: {spec.trials} settings, judged by {goal.metric} at steps {where}\n"
        f"Look at the study with: optuna-dashboard {path}",
        soft_wrap=True,
    )
    while jobs := search.next_jobs():
        points = []
        for job in jobs:
            [point] = folder.at_home([request.point(_as_typed(job.params))])
            points.append(replace(point, stop_at=job.rung if job.rung < steps[-1] else None))
        folder.add(points, plan.command())
        view.add(point.name for point in points)
        pairs = list(zip(jobs, points, strict=True))
        todo = [point for job, point in pairs if search.begin(job, RunFolder(point.path))]
        if todo:
            launch(todo)
        for job, point in pairs:
            search.end(job, RunFolder(point.path))


def _as_typed(params: Mapping[str, Any]) -> dict[str, str]:
    """Values as people would type them: three digits of a number that was drawn."""
    return {
        key: f"{value:.3g}" if isinstance(value, float) else str(value)
        for key, value in params.items()
    }


def is_to_do(state: RunState, *, retry_failed: bool) -> bool:
    """Whether a run is still to be made, or gone on with."""
    if state.state == "failed":
        return retry_failed or state.ran_out_of_disk  # which was not the run's fault
    return state.state != "done"


def _say_what_is_to_do(
    console: Console, folder: SweepFolder, states: Sequence[RunState], todo: int
) -> None:
    done = sum(state.state == "done" for state in states)
    failed = sum(state.state == "failed" for state in states)
    begun = sum(state.state not in ("done", "failed", "waiting") for state in states)
    parts = [f"{len(states)} runs", f"{todo} to do"]
    parts += [f"{done} done already"] * (done > 0) + [f"{begun} to go on with"] * (begun > 0)
    parts += [f"{failed} failed"] * (failed > 0)
    console.print(f"Sweep {folder.path}: {', '.join(parts)}", soft_wrap=True)


def _finish(folder: SweepFolder, states: Sequence[RunState], console: Console) -> None:
    """Compare what there is, and say what failed.

    Raises:
        RunError: runs have failed.
    """
    from reasoning_lab.compare.show import show_and_write

    if any(state.state == "done" for state in states):
        show_and_write([folder.path], folder.comparison_dir, console)
    if waiting := sum(state.state in ("waiting", "starting") for state in states):
        console.print(f"{waiting} of {len(states)} runs are still to begin.")
    if failed := [
        state for state in states if state.state not in ("done", "paused", "waiting", "starting")
    ]:
        lines = [f"  {s.name}: {s.state} {s.error or ''}".rstrip() for s in failed]
        raise RunError(
            "\n".join(
                [
                    f"{len(failed)} of {len(states)} runs did not end well:",
                    *lines,
                    "The whole story of each is in status.json and output.txt in its folder.",
                    "To try failed ones again: the same command with sweep.retry_failed=true",
                ]
            )
        )
