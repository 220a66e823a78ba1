import subprocess
import sys
from pathlib import Path

from reasoning_lab.tracking.specs import TrackingSpec
from reasoning_lab.tracking.tracker import NullTracker, open_tracker


def test_without_wandb_nothing_is_recorded(run_dir: Path) -> None:
    with open_tracker(TrackingSpec(wandb=False), run_dir, {}, job_type="sft") as tracker:
        tracker.log(1, {"train/loss": 1.0})
        tracker.samples(1, [{"question": "1 + 1"}])
        tracker.summary({"correct": 0.5})
    assert isinstance(tracker, NullTracker)
    assert list(run_dir.parent.iterdir()) == [run_dir]


def test_wandb_is_not_imported_before_a_run_is_opened() -> None:
    program = "import sys, reasoning_lab.tracking.tracker; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
