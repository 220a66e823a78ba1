"""Memory and traffic of a training step on a TPU v5e-8: ours and stock Tunix's, compiled, not run.

    python -m bench.memory                                    # probes of a few layers
    python -m bench.memory --full                             # all layers
    python -m bench.memory --models gemma3_1b --steps sft
    python -m bench.memory --markdown measured.md

It needs the TPU's compiler, which works without a TPU: pip install -e '.[plan]'
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from bench import jax_tools
from bench.memory_tunix import TunixGRPOStep, TunixSFTStep
from bench.report import LABELS, OURS, Table
from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.engine.programs import GRPOStep, Program, Setting, SFTStep
from reasoning_lab.engine.specs import LoraSpec
from reasoning_lab.experiment import compose_hardware
from reasoning_lab.hardware.machines import machine
from reasoning_lab.preflight.compiled import Compiled, Setup
from reasoning_lab.preflight.compiling import NoCompilerError, compile_all
from reasoning_lab.preflight.extrapolate import extrapolated, probes

_MODELS = {"gemma3_1b": "Gemma 3 1B", "gemma2_2b": "Gemma 2 2B"}
_STEPS = ("sft", "grpo")
_ROWS, _LENGTH = 8, 1024
_PROMPT_LENGTH = 256  # of a row of GRPO; the rest is one completion
_LORA = LoraSpec(
    rank=16, target_modules=("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "down_proj")
)
_HARDWARE = compose_hardware(["hardware=tpu_v5e8"], jax_tools.HARDWARE)

System = Literal["tunix, remat NONE", "tunix, remat DECODER", "ours"]
_BEST_STOCK: System = "tunix, remat DECODER"
_NAMES: dict[System, str] = {
    "tunix, remat NONE": f"{LABELS['tunix']}, remat NONE",
    "tunix, remat DECODER": f"{LABELS['tunix']}, remat DECODER",
    "ours": LABELS[OURS],
}
_COLUMNS = ("peak GiB", "of DECODER's", "GB moved", "of DECODER's", "s to compile")


def main() -> None:
    arguments = _parse()
    console = Console()
    tables = []
    for model, step in product(arguments.models, arguments.steps):
        found = {}
        for system in _NAMES:
            with console.status(f"{model}, {step}: {system}"):
                found[system] = _compiled(_program(system, step, model), full=arguments.full)
        tables.append(_table(f"{_MODELS[model]}, {_description(step)}", found))
        console.print(tables[-1].for_terminal())
    setting = _setting(full=arguments.full)
    console.print(setting)
    if arguments.markdown:
        parts = [setting, *(table.markdown() for table in tables)]
        arguments.markdown.write_text("\n\n".join(parts) + "\n", "utf-8")
        console.print(f"wrote {arguments.markdown}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choose: dict[str, Any] = {"nargs": "+"}
    parser.add_argument("--models", choices=_MODELS, default=list(_MODELS), **choose)
    parser.add_argument("--steps", choices=_STEPS, default=list(_STEPS), **choose)
    parser.add_argument("--full", action="store_true", help="compile all layers")
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="write the tables here")
    return parser.parse_args()


def _program(system: System, step: str, model: str) -> Program:
    setting = Setting(
        arch=ARCHITECTURES[model],
        param_dtype=_HARDWARE.param_dtype,
        lora_rank=_LORA.rank,
        target_modules=_LORA.target_modules,
        remat=system != "tunix, remat NONE",
        logit_tokens=_HARDWARE.logit_tokens,
    )
    sizes: dict[str, Any] = {"setting": setting, "rows": _ROWS, "length": _LENGTH}
    if system == "ours":
        return SFTStep(**sizes) if step == "sft" else GRPOStep(sequence_ratio=False, **sizes)
    packages = ", ".join(f"{name} {version(name)}" for name in ("google-tunix", "qwix", "flax"))
    if step == "sft":
        return TunixSFTStep(packages=packages, **sizes)
    return TunixGRPOStep(packages=packages, prompt_length=_PROMPT_LENGTH, **sizes)


def _compiled(program: Program, *, full: bool) -> Compiled:
    setup = Setup(
        machine=machine(_HARDWARE.chip),
        fsdp=_HARDWARE.fsdp,
        tp=_HARDWARE.tp,
        quick=not full,
    )
    try:
        if full:
            return compile_all(setup, [program])[0]
        arch = program.setting.arch
        kinds = probes(arch, program.tokens)
        found = compile_all(setup, [program.with_layers(layers) for layers in kinds])
    except NoCompilerError:
        sys.exit("The TPU compiler is not installed: pip install -e '.[plan]'")
    whole = extrapolated(arch, dict(zip(kinds, found, strict=True)))
    return replace(whole, seconds=sum(probe.seconds for probe in found))


def _table(title: str, found: Mapping[System, Compiled]) -> Table:
    stock = found[_BEST_STOCK]
    rows = []
    for system, compiled in found.items():
        moved = "does not fit" if compiled.refused else f"{compiled.bytes / 1e9:.1f}"
        shares = ["–", "–"]
        if system == "ours":
            shares[0] = f"{compiled.peak / stock.peak:.0%}"
            if not (compiled.refused or stock.refused):
                shares[1] = f"{compiled.bytes / stock.bytes:.0%}"
        peak, seconds = f"{compiled.peak / 2**30:.2f}", f"{compiled.seconds:.0f}"
        rows.append([_NAMES[system], peak, shares[0], moved, shares[1], seconds])
    return Table(title, _COLUMNS, rows)


def _description(step: str) -> str:
    if step == "sft":
        return f"SFT step on {_ROWS} × {_LENGTH} tokens"
    completion = _LENGTH - _PROMPT_LENGTH
    return f"GRPO policy step on {_ROWS} × ({_PROMPT_LENGTH} + {completion}) tokens"


def _setting(*, full: bool) -> str:
    packages = ("google-tunix", "jax", "libtpu", "qwix")
    how = (
        "All layers compiled, not run"
        if full
        else "Extrapolated from compiled probes of two to four layers, not run"
    )
    return (
        f"{date.today().isoformat()}; {', '.join(f'{name} {version(name)}' for name in packages)}. "
        f"One chip of a v5e-8, mesh (8, 1); base in bfloat16, LoRA of rank {_LORA.rank} on "
        f"queries, keys, values and the MLP. {how}."
    )


if __name__ == "__main__":
    main()
