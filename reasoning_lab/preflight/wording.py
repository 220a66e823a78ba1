"""A plan in words and in rows of tables, for the terminal and for Markdown."""

from reasoning_lab.hardware.machines import GIB
from reasoning_lab.preflight.advice import overrides_to_try
from reasoning_lab.preflight.plan import Plan, ProgramPlan, StagePlan
from reasoning_lab.stages.specs import SFTSpec

INSTALL = "pip install 'reasoning_lab[plan]'"
TRY = "To try, one more each time (mode=fit searches for what fits): "

PARTS = {  # field of Parts -> (what it is called, its letter in a bar)
    "base": ("base weights", "W"),
    "lora": ("LoRA, optimizer", "L"),
    "batch": ("batch", "B"),
    "logits": ("logits", "O"),
    "cache": ("cache", "C"),
    "rest": ("activations, rest", "a"),
}
MEMORY_COLUMNS = ("program", *(name for name, _ in PARTS.values()), "peak", "verdict")
TIME_COLUMNS = ("program", "TFLOP", "GB moved", "at least", "runs in a step", "compiling")


def title(plan: Plan) -> str:
    hardware = plan.experiment.hardware
    mesh = f"{hardware.devices} × {plan.machine.name}"
    if hardware.devices > 1:
        mesh += f" (fsdp {hardware.fsdp} × tp {hardware.tp})"
    return f"{plan.experiment.model.architecture}, {kind(plan.stages[-1])}, on {mesh}"


def kind(stage: StagePlan) -> str:
    return "supervised fine-tuning" if isinstance(stage.experiment.stage, SFTSpec) else "GRPO"


def how(plan: Plan) -> str:
    """Where the numbers come from."""
    match plan.how:
        case "extrapolated":
            return (
                "extrapolated: compiled with a few layers, as they would run, and reckoned up to "
                "all layers (plan.full=true compiles all)"
            )
        case "compiled, not run":
            return "compiled, not run: all layers, as they would run"
        case _:
            return (
                "estimated by rules of thumb: the compiler for this machine is not installed. For "
                f"figures of the compiler itself: {INSTALL}"
            )


def memory_row(program: ProgramPlan, name: str) -> tuple[str, ...]:
    cells = (gib(getattr(program.parts, part)) for part in PARTS)
    return (name, *cells, gib(program.peak), program.verdict)


def time_row(program: ProgramPlan, name: str) -> tuple[str, ...]:
    runs = str(program.work.in_a_step) if program.work.in_a_step else "-"
    floor = "not known" if program.floor is None else duration(program.floor)
    compiling = duration(program.compile_seconds) if program.compile_seconds else "-"
    moved = "-" if program.refused else f"{program.bytes / 1e9:,.1f}"
    return (name, f"{program.flops / 1e12:,.2f}", moved, floor, runs, compiling)


def names(stage: StagePlan, plan: Plan) -> list[str]:
    """What the programs of a stage are called in a plan of several."""
    before = "warm start: " if stage is not plan.stages[-1] else ""
    return [before + program.name for program in stage.programs]


def conclusions(plan: Plan) -> list[str]:
    """What it comes to, a sentence a line."""
    return [_memory(plan), *(_steps(stage, plan) for stage in plan.stages), *_time(plan)]


def advice(plan: Plan) -> list[str]:
    """Overrides to try where something does not fit."""
    return overrides_to_try(plan)


def _memory(plan: Plan) -> str:
    worst, budget = plan.worst, plan.machine.memory_budget
    margin = f"{plan.experiment.plan.margin:.0%}"
    text = (
        f"{worst.name} takes {gib(worst.peak)} of {gib(budget)} GiB a chip "
        f"({worst.peak / budget:.0%})"
    )
    match plan.verdict:
        case "fits":
            return f"Memory: fits, with more than {margin} to spare. {text}; all others take less."
        case "tight":
            return f"Memory: tight. {text}; {margin} should be left free."
        case _ if worst.refused:
            return f"Memory: does not fit. {text}, and the compiler refuses it."
        case _:
            return f"Memory: does not fit. {text}."


def _steps(stage: StagePlan, plan: Plan) -> str:
    steps = stage.steps
    what = kind(stage).capitalize() if len(plan.stages) > 1 else "Steps"
    if steps.count is None:
        return (
            f"{what}: as many as the data has rows; set stage.max_steps to plan the whole run. "
            f"{steps.tokens:,} tokens a step."
        )
    bound = "at most " if steps.at_most else ""
    text = f"{what}: {bound}{steps.count:,} of {steps.tokens:,} tokens"
    text += f", {steps.count * steps.tokens / 1e6:,.1f} million in all"
    if steps.at_most:
        text += "; packing, and rows that are dropped, make fewer"
    if stage.step_floor is not None:
        text += f". A step takes at least {duration(stage.step_floor)}"
        if not isinstance(stage.experiment.stage, SFTSpec):
            text += ", if all completions are as long as they may be"
    return text + "."


def _time(plan: Plan) -> list[str]:
    lines = []
    if plan.seconds is not None:
        lines.append(
            f"Time: at least {duration(plan.seconds)}, evaluations included: what arithmetic and "
            "memory alone take at full speed. Loading, compiling, rewards and transfers between "
            "chips come on top."
        )
    elif not plan.machine.known_speed:
        lines.append("Time: not known before a run; there are no figures for a processor's speed.")
    if plan.expected_seconds is not None:
        sources = {
            phase: expected.source
            for stage in plan.stages
            for phase, expected in stage.expected.items()
        }
        said = "; ".join(f"{phase}: {source}" for phase, source in sources.items())
        lines.append(f"Expected: {duration(plan.expected_seconds)} ({said}).")
    else:
        lines.append(
            "Expected: not known yet. Every run on such a machine notes what its steps take, and "
            "plans made where its cache is use that."
        )
    limit = plan.experiment.hardware.time_limit_hours
    if limit is not None and plan.fits_in_time is not None:
        known = "expected" if plan.expected_seconds is not None else "at least"
        verdict = "within" if plan.fits_in_time else "over"
        lines.append(f"Time limit: {verdict} the {limit:g} hours ({known}).")
    return lines


def gib(value: float) -> str:
    size = value / GIB
    return f"{size:.2f}" if size < 100 else f"{size:,.0f}"


def duration(seconds: float) -> str:
    """Such as "38 ms", "2.4 s", "12 min" or "3.1 h"."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"
