"""Runs without a model: folders as a stage leaves them, in a moment."""

import json
from collections.abc import Callable, Sequence

from reasoning_lab.experiment import to_yaml
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.metrics import MetricsWriter
from reasoning_lab.runs.status import Paused, mark_failed
from reasoning_lab.stages.parents import settled
from reasoning_lab.sweeps.plan import Point

Score = Callable[[Point, int], float]


def write_run(point: Point, score: Score = lambda point, step: 0.5) -> RunFolder:
    """A run that trains to its last step, or to where it is to pause, one record a step."""
    stage = point.experiment.stage
    last = stage.max_steps or 4  # type: ignore[attr-defined]
    folder = RunFolder.at(point.path)
    folder.config_path.write_text(to_yaml(settled(point.experiment)), "utf-8")
    stop = min(last, point.stop_at or last)
    try:
        with folder.status() as status:
            status.update(stop, last)
            with MetricsWriter(folder.metrics_path, resume_step=0) as metrics:
                for step in range(1, stop + 1):
                    values = {"eval/score": score(point, step), "time/step": 2.0}
                    metrics.log(step, values)
            if stop < last:
                raise Paused
    except Paused:
        return folder
    answer = {
        "model": "tuned",
        "question": "1 + 1?",
        "completion": "2",
        "answer": "2",
        "example_id": "a",
        "source": "sums",
        "domain": "sums",
        "well_formed": True,
        "correct": True,
        "truncated": False,
        "reward": 1.0,
    }
    folder.samples_path.write_text(json.dumps(answer) + "\n", "utf-8")
    return folder


class Launcher:
    """Makes fake runs and remembers which; those named in `failing` fail."""

    def __init__(self, score: Score = lambda point, step: 0.5, failing: Sequence[str] = ()) -> None:
        self.launched: list[str] = []
        self.score = score
        self.failing = list(failing)

    def __call__(self, points: Sequence[Point]) -> None:
        for point in points:
            self.launched.append(point.name)
            folder = write_run(point, self.score)
            if point.name in self.failing:
                mark_failed(folder.status_path, "ValueError: no luck", "Traceback ...")
