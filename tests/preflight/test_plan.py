"""From an experiment to a plan: memory, times, verdicts, advice; a compiler is played."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reasoning_lab.engine.programs import Program
from reasoning_lab.experiment import Experiment, compose
from reasoning_lab.hardware.calibration import Measurement, add, planned_machine
from reasoning_lab.hardware.machines import GIB, TPU_V5E
from reasoning_lab.preflight import compiling, plan, record, show, wording
from reasoning_lab.preflight.compiled import Compiled, Setup
from reasoning_lab.preflight.plan import Plan, make, verdict_of
from reasoning_lab.stages.plans import read_plan
from reasoning_lab.stages.timing import sizes

TPU = ["hardware=tpu_v5e8", "model=gemma3_1b_it", "tracking=none"]
GRPO = [*TPU, "experiment=gsm8k_grpo"]
SFT = [*TPU, "stage.max_length=1024", "stage.batch_tokens=8192", "stage.max_steps=100"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REASONING_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Compiler:
    """Says that each layer needs so much, and remembers what it was asked."""

    def __init__(self, gib_a_layer: float = 0.1, refuses: str = "") -> None:
        self.asked: list[Program] = []
        self.gib_a_layer, self.refuses = gib_a_layer, refuses

    def __call__(self, setup: Setup, programs: Sequence[Program], _: Any) -> list[Compiled]:
        self.asked += programs
        return [self.compiled(program) for program in programs]

    def compiled(self, program: Program) -> Compiled:
        layers = program.setting.arch.num_layers
        return Compiled(
            peak=(1 + layers * self.gib_a_layer) * GIB,
            arguments=10 * GIB,
            flops=layers * 1e12,
            bytes=layers * 1e9,
            seconds=float(layers),
            refused=program.name == self.refuses,
        )


def planned(
    monkeypatch: pytest.MonkeyPatch, overrides: Sequence[str], compiler: Compiler | None = None
) -> Plan:
    monkeypatch.setattr(plan, "compile_all", compiler or Compiler())
    return make(compose(overrides))


def shown(made: Plan) -> str:
    console = Console(width=180, record=True, file=io.StringIO())
    show.show(made, console)
    return console.export_text()


def test_a_plan_names_every_program_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [program.name for program in planned(monkeypatch, GRPO).programs]
    assert names == [
        "read prompts",
        "write completions",
        "reference log-probabilities",
        "GRPO step",
        "evaluation: read prompts",
        "evaluation: write completions",
    ]
    without_reference = planned(monkeypatch, [*GRPO, "stage.beta=0"])
    assert "reference log-probabilities" not in [one.name for one in without_reference.programs]
    with_losses = planned(monkeypatch, [*SFT, "stage.eval_every=10"])
    assert "held-out loss" in [one.name for one in with_losses.programs]


def test_few_layers_are_compiled_and_reckoned_up(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler()
    made = planned(monkeypatch, SFT, compiler)
    assert made.how == "extrapolated"
    assert max(program.setting.arch.num_layers for program in compiler.asked) == 4
    step = made.programs[0]
    assert step.flops == pytest.approx(26e12)
    assert step.floor == pytest.approx(26e12 / 197e12)
    assert step.compile_seconds == pytest.approx(26)


def test_all_layers_are_compiled_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler()
    made = planned(monkeypatch, [*SFT, "plan.full=true"], compiler)
    assert made.how == "compiled, not run"
    assert {program.setting.arch.num_layers for program in compiler.asked} == {26}


def test_parts_add_up_to_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    for program in planned(monkeypatch, GRPO).programs:
        parts = program.parts
        assert parts.total == pytest.approx(program.peak)
        assert min(vars(parts).values()) >= 0
        assert parts.base == pytest.approx(1e9 * 2 / 8, rel=0.1)
        assert (parts.cache > 0) == ("prompts" in program.name or "completions" in program.name)


def test_what_a_run_keeps_is_in_every_programs_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made = planned(monkeypatch, GRPO)
    lora = {program.parts.lora for program in made.programs}
    assert len(lora) == 1
    read, *_, step = (one for one in made.programs if one.phase in ("rollout", "GRPO step"))
    # A rollout has the LoRA weights among its arguments, the update AdamW's state too.
    assert read.peak > step.peak


@pytest.mark.parametrize(
    ("peak", "verdict"),
    [(85.0, "fits"), (85.1, "tight"), (100.0, "tight"), (100.1, "does not fit")],
)
def test_verdicts_leave_a_margin(peak: float, verdict: str) -> None:
    assert verdict_of(peak, budget=100.0, margin=0.15) == verdict


def test_the_worst_program_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    made = planned(monkeypatch, SFT, Compiler(gib_a_layer=0.7))
    assert made.verdict == "does not fit"
    assert made.worst.peak == max(program.peak for program in made.programs)
    assert "does not fit" in shown(made)


def test_what_the_compiler_refuses_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever size it named, and however much more others need."""
    made = planned(monkeypatch, SFT, Compiler(0, "SFT step"))
    step, *others = made.programs
    assert step.refused
    assert step.peak < max(one.peak for one in others)
    assert {one.verdict for one in others} == {"fits"}
    assert made.verdict == step.verdict == "does not fit"
    assert "does not fit. SFT step takes" in shown(made)


def test_advice_is_valid_and_about_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = [*GRPO, "hardware.rows_per_micro_batch=4"]
    made = planned(monkeypatch, overrides, Compiler(gib_a_layer=1.0))
    advice = wording.advice(made)
    assert "hardware.rows_per_micro_batch=1" in advice  # 27 GiB of 15.75: half would not do
    assert any(text.startswith("hardware.generation_batch_size=") for text in advice)
    for text in advice:
        compose([*overrides, text])
    assert not wording.advice(planned(monkeypatch, overrides))


def test_too_long_for_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = [*SFT, "hardware.time_limit_hours=0.001"]
    made = planned(monkeypatch, overrides)
    assert made.fits_in_time is False
    [advice] = wording.advice(made)
    assert compose([*overrides, advice]).stage.max_steps < 100  # type: ignore[attr-defined]
    assert "over the 0.001 hours" in shown(made)


def test_steps_follow_from_rows_where_nothing_else_says_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = planned(monkeypatch, ["experiment=glaive_sft", "tracking=none"])
    [stage] = made.stages
    assert (stage.steps.count, stage.steps.at_most) == (22_500, True)
    unknown = planned(
        monkeypatch, [*TPU, "data=gsm8k", "data.sources.gsm8k.rows=null", "stage.batch_tokens=2048"]
    )
    assert unknown.seconds is None
    assert "set stage.max_steps" in shown(unknown)


def test_a_warm_start_is_planned_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made = planned(monkeypatch, [*GRPO, "stage@warm_start=sft", "warm_start.batch_tokens=2048"])
    assert len(made.stages) == 2
    assert "warm start: SFT step" in shown(made)


def test_measured_steps_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = compose(SFT)
    assert "not known yet" in shown(planned(monkeypatch, SFT))
    _measure(experiment, 2.0)
    made = planned(monkeypatch, SFT)
    assert made.stages[0].expected["SFT step"].seconds == 2.0
    assert made.expected_seconds is not None
    assert made.expected_seconds >= 200
    assert "measured 2026-01-01" in shown(made)


def test_other_sizes_are_expected_in_proportion_to_their_floors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned(monkeypatch, SFT)  # whose floors are kept
    _measure(compose(SFT), 2.0)
    made = planned(monkeypatch, [*SFT, "stage.batch_tokens=16384"])
    floor = made.stages[0].step_floor
    assert floor is not None
    expected = made.stages[0].expected["SFT step"]
    assert expected.seconds == pytest.approx(2.0)  # as the played compiler says: the same floor
    assert "other sizes" in expected.source


def test_a_processor_has_no_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    made = planned(monkeypatch, ["experiment=quick_cpu"])
    assert made.seconds is None
    assert "no figures for a processor" in shown(made)


def test_without_a_compiler_it_is_estimated_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> list[Compiled]:
        raise compiling.NoCompilerError("no libtpu")

    monkeypatch.setattr(plan, "compile_all", missing)
    made = make(compose(GRPO))
    assert made.how == "estimated, no compiler"
    text = shown(made)
    assert "estimated" in text
    assert wording.INSTALL in text
    assert made.seconds is not None


def test_a_plan_is_kept_for_the_message_of_an_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = planned(monkeypatch, SFT)
    record.keep(made)
    kept = read_plan(compose(SFT))
    assert kept is not None
    assert kept["how"] == "extrapolated"
    step = kept["programs"][0]
    assert step["name"] == "SFT step"
    assert step["budget_bytes"] == TPU_V5E.memory_budget
    assert step["verdict"] == "fits"
    json.dumps(kept)


def test_the_page_begins_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    page = show.markdown(planned(monkeypatch, SFT), command="python launch.py mode=plan")
    assert "```sh\npython launch.py mode=plan\n```" in page
    assert "| SFT step |" in page
    assert "jax 0." in page


def test_a_plan_that_cannot_be_written_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(plan, "compile_all", Compiler())
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match=r"plan\.save="):
        show.print_plan(compose([*SFT, f"plan.save={tmp_path}/file/plan.md"]))


def test_a_bar_is_as_long_as_the_memory_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    program = planned(monkeypatch, SFT).programs[0]
    half = show.bar(program, 2 * program.peak, in_colour=False).plain
    assert half.index("·") == 20
    assert half.endswith("| 50%")
    over = show.bar(program, program.peak / 2, in_colour=False).plain
    assert over.index("|") == 40
    assert over.endswith(" 200%")


def _measure(experiment: Experiment, seconds: float) -> None:
    [(program, of_sizes)] = sizes(replace(experiment)).items()
    add(
        Measurement(
            machine=planned_machine(experiment.hardware),
            program=program,
            sizes=of_sizes,
            seconds=seconds,
            tokens=None,
            steps=10,
            date="2026-01-01T00:00:00+00:00",
            versions={},
        )
    )
