"""Running out of memory is one error that says what was planned and what helps; times are kept."""

import json
from pathlib import Path
from typing import Any

import jax
import pytest

from reasoning_lab.config import RunError
from reasoning_lab.engine import sft_step
from reasoning_lab.engine.memory import OutOfMemoryError, naming_memory
from reasoning_lab.experiment import compose
from reasoning_lab.hardware.calibration import machine_name, measurements
from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import read_status
from reasoning_lab.stages import recipe
from reasoning_lab.stages.memory import explaining_memory
from reasoning_lab.stages.plans import plan_path
from reasoning_lab.stages.timing import sizes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # by Tunix

ASKED = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes."
QUICK = ("experiment=quick_cpu", "evaluation.baseline=false", "evaluation.problems=2")
GRPO = ("stage=grpo", "hardware.generation_batch_size=32", "stage.num_generations=8")


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (ASKED, 2**33),
        ("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.", 2**34),
        ("RESOURCE_EXHAUSTED: Attempting to allocate 2.50G. That was not possible.", 2.5 * 2**30),
        (
            (
                "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory "
                "space hbm. Used 20.00G of 15.75G hbm. Exceeded hbm capacity by 4.25G."
            ),
            20 * 2**30,
        ),
        ("RESOURCE_EXHAUSTED: the allocator gave up", None),
    ],
)
def test_what_was_asked_is_read_from_the_message(said: str, asked: float | None) -> None:
    with (
        pytest.raises(OutOfMemoryError, match=r"Out of memory in SFT step") as error,
        naming_memory("evaluation"),
        naming_memory("SFT step"),
    ):
        raise jax.errors.JaxRuntimeError(said)
    assert error.value.asked == asked


def test_other_errors_pass(tmp_path: Path) -> None:
    with (
        pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"),
        explaining_memory(compose(), RunFolder(tmp_path)),
        naming_memory("SFT step"),
    ):
        raise jax.errors.JaxRuntimeError("INTERNAL: no luck")


@pytest.mark.parametrize(
    ("doing", "words", "told"),
    [
        (
            "SFT step",
            ("hardware.rows_per_micro_batch=4",),
            (
                "resume {run} hardware.rows_per_micro_batch=2\n"
                "  If that is not enough: hardware.remat=true, then hardware.logit_tokens=32\n"
                "  In a new run: stage.max_length=128."
            ),
        ),
        (
            "GRPO step",
            (*GRPO, "hardware.rows_per_micro_batch=1", "hardware.remat=true"),
            "resume {run} hardware.logit_tokens=32\n  In a new run: stage.max_completion_length=64",
        ),
        (
            "rollout",
            GRPO,
            (
                "resume {run} hardware.generation_batch_size=16\n"
                "  If that is not enough: hardware.generation_batch_size=8\n"
            ),
        ),
        (
            "evaluation",
            (*GRPO, "hardware.generation_batch_size=8"),  # a group: less is refused
            "mode=plan says what fits.\n  In a new run: evaluation.max_completion_length=",
        ),
    ],
)
def test_the_override_that_helps_is_one_that_composes(
    doing: str,
    words: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REASONING_LAB_CACHE", str(tmp_path / "cache"))
    with (
        pytest.raises(RunError) as error,
        explaining_memory(compose(words), RunFolder(tmp_path)),
        naming_memory(doing),
    ):
        raise jax.errors.JaxRuntimeError(ASKED)
    assert str(error.value).startswith(f"Out of memory in {doing}: 8.59 GB were asked for.")
    assert told.format(run=tmp_path) in str(error.value)


def test_a_run_that_ran_out_of_memory_goes_on_as_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REASONING_LAB_CACHE", str(tmp_path / "cache"))
    experiment = compose([*QUICK, f"run_dir={tmp_path}/run", "stage.max_steps=6"])
    plan = plan_path(experiment)
    plan.parent.mkdir(parents=True)
    program = {"name": "SFT step", "peak_bytes": 7e9, "budget_bytes": 8e9, "verdict": "tight"}
    plan.write_text(json.dumps({"how": "compiled", "programs": [program]}))
    real = sft_step.train_step

    def small_only(
        params: Any, state: Any, base: Any, batch: Any, *rest: Any, **static: Any
    ) -> Any:
        if batch["tokens"].shape[1] > 1:
            raise jax.errors.JaxRuntimeError(ASKED)
        return real(params, state, base, batch, *rest, **static)

    monkeypatch.setattr(sft_step, "train_step", small_only)
    with pytest.raises(RunError) as error:
        recipe.run(experiment)
    folder = RunFolder.open(tmp_path / "run")
    assert "The plan (compiled) said: SFT step takes most, 7 of 8 GB: tight." in str(error.value)
    assert read_status(folder.status_path).error == f"RunError: {error.value}"
    [command] = [line for line in str(error.value).splitlines() if "Go on with" in line]
    recipe.resume(folder, command.split()[-1:])
    assert read_status(folder.status_path).state == "done"
    manifest = json.loads(folder.manifest_path.read_text())
    assert [one["hardware"]["rows_per_micro_batch"] for one in manifest["ran_on"]] == [2, 1]

    [measured] = measurements(machine_name(manifest["device"]))
    assert (measured.program, measured.steps, measured.tokens) == ("SFT step", 5, None)
    assert measured.sizes["micro_batches"] == 2
    assert measured.seconds > 0


def test_sizes_are_of_the_programs_that_run() -> None:
    assert set(sizes(compose())) == {"SFT step"}
    reinforcement = sizes(compose(["stage=grpo"]))
    assert set(reinforcement) == {"rollout", "reference", "GRPO step"}
    assert "reference" not in sizes(compose(["stage=grpo", "stage.beta=0"]))
    assert reinforcement["rollout"]["completions"] == 32
    assert json.loads(json.dumps(reinforcement)) == reinforcement
