import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from reasoning_lab.runs.metrics import MetricsWriter, Point, read_names, read_series


def test_one_metric_is_read_back_as_a_series(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics:
        metrics.log(1, {"train/loss": 2.5, "train/tokens": 512})
        metrics.log(2, {"train/loss": np.float32(0.5)})
        metrics.log(2, {"eval/loss": 0.75})
    assert read_series(path, "train/loss") == [Point(1, 2.5), Point(2, 0.5)]
    assert read_series(path, "eval/loss") == [Point(2, 0.75)]
    assert read_series(path, "no/such") == []


def test_every_line_is_strict_json_and_tells_the_time(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics:
        metrics.log(1, {"loss": math.nan, "norm": math.inf})

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    record = json.loads(path.read_text(), parse_constant=refuse)
    assert abs(record["time"] - time.time()) < 60


def test_values_that_are_not_finite_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics:
        for step, value in enumerate((math.inf, -math.inf, math.nan)):
            metrics.log(step, {"loss": value})
    values = [point.value for point in read_series(path, "loss")]
    assert values[:2] == [math.inf, -math.inf]
    assert math.isnan(values[2])


def test_a_resumed_curve_has_every_step_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics:
        for step in range(1, 10):
            metrics.log(step, {"loss": 1.0})
    with MetricsWriter(path, resume_step=6) as metrics:
        for step in range(7, 12):
            metrics.log(step, {"loss": 2.0})
    assert [point.step for point in read_series(path, "loss")] == list(range(1, 12))


def test_the_names_of_all_metrics_are_found(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics:
        metrics.log(1, {"reward/total": 1.0, "reward/correct": 1.0})
        metrics.log(2, {"eval/correct": 1.0, "reward/total": 1.0})
    assert read_names(path) == ["reward/total", "reward/correct", "eval/correct"]
    assert read_names(tmp_path / "missing.jsonl") == []
