"""What the compilers for a TPU v5e-8 and an RTX 3090 make of small models, and of nothing less.

They come with the extra `plan`, which `dev` includes.
"""

import math
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.engine.programs import (
    GRPOStep,
    Program,
    ReadPrompts,
    Setting,
    SFTStep,
    WriteCompletions,
)
from reasoning_lab.hardware.machines import RTX3090, TPU_V5E
from reasoning_lab.preflight.compiled import Compiled, Setup
from reasoning_lab.preflight.compiling import compile_all, environment_for
from reasoning_lab.preflight.estimate import estimated
from reasoning_lab.preflight.hlo_costs import loops
from reasoning_lab.preflight.memory import known_parts, resident_besides, state_of
from reasoning_lab.preflight.plan import verdict_of

MACHINES = {
    "tpu_v5e": Setup(machine=TPU_V5E, fsdp=8, tp=1, quick=True),
    "rtx3090": Setup(machine=RTX3090, fsdp=1, tp=1, quick=True),
}
EIGHT = MACHINES["tpu_v5e"]

# No two of these are equal, so that an array of [V, D] or [T, T] is known by its shape.
VOCABULARY, WIDTH, HIDDEN, LENGTH = 32_768, 512, 1536, 2048
SMALL = replace(
    ARCHITECTURES["gemma3_1b"],
    num_layers=2,
    attention_pattern=("local", "global"),
    vocab_size=VOCABULARY,
    embed_dim=WIDTH,
    hidden_dim=HIDDEN,
    head_dim=128,
    sliding_window=256,
)
SETTING = Setting(
    arch=SMALL,
    param_dtype="bfloat16",
    lora_rank=8,
    target_modules=("q_proj", "v_proj", "down_proj"),
    remat=True,
    logit_tokens=64,
)
READ = ReadPrompts(
    setting=SETTING,
    shared=8,
    shared_length=127,
    completions=16,
    own_length=0,
    room=128,
    closing=4,
)
WRITE = WriteCompletions(setting=SETTING, prompts=READ, greedy=False, truncate=False)
SFT = SFTStep(setting=SETTING, rows=8, length=LENGTH)
GRPO = GRPOStep(setting=SETTING, micro_batches=2, rows=8, length=512, sequence_ratio=False)
PROGRAMS = (SFT, GRPO, READ, WRITE)

_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter", "collective-permute")


@pytest.fixture(scope="module", autouse=True)
def empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REASONING_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@cache
def compiled(name: str) -> dict[Program, tuple[Compiled, str]]:
    """What a machine's compiler says of all programs, and their texts."""
    setup = MACHINES[name]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("compile_text.py"))],
        input=pickle.dumps((setup, PROGRAMS)),
        env={**os.environ, **environment_for(setup.machine, setup.fsdp * setup.tp)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return dict(zip(PROGRAMS, pickle.loads(done.stdout), strict=True))


def hlo(name: str, program: Program) -> str:
    """The text of the program of one chip."""
    return compiled(name)[program][1]


def shapes(text: str) -> set[tuple[int, ...]]:
    """Of all arrays in it."""
    found = re.findall(r"\b[a-z]+\d*\w*\[([\d,]+)\]", text)
    return {tuple(map(int, dims.split(","))) for dims in found}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
@pytest.mark.parametrize("name", MACHINES)
def test_every_kind_of_program_compiles(name: str, program: Program) -> None:
    setup, (found, _) = MACHINES[name], compiled(name)[program]
    state = state_of(PROGRAMS, setup.fsdp, setup.tp)
    known = known_parts(program, setup.fsdp, setup.tp, state)
    assert not found.refused
    assert found.peak > found.arguments > known.batch > 0
    besides = resident_besides(program, found, setup.fsdp, setup.tp, state)
    assert found.peak + besides > known.base + known.lora + known.batch + known.cache
    assert found.flops > 0
    assert found.bytes > known.base / 2  # of the last layer that is read only keys and values
    assert verdict_of(found.peak, setup.machine.memory_budget, 0.15, found.refused) == "fits"


@pytest.mark.parametrize("name", MACHINES)
def test_the_formulas_are_within_their_factor(name: str) -> None:
    setup = MACHINES[name]
    guess = estimated(SFT, setup.fsdp, setup.tp)
    found, _ = compiled(name)[SFT]
    assert 1 / 2 < guess.peak / found.peak < 2
    assert 1 / 2 < guess.flops / found.flops < 2


def test_a_program_that_is_far_too_big_is_refused_with_its_size() -> None:
    """Logits of 131,072 tokens and a vocabulary of 262,144 are 16 GiB a chip."""
    wide = replace(SETTING, arch=replace(SMALL, vocab_size=262_144), logit_tokens=16_384)
    [found] = compile_all(EIGHT, [SFTStep(setting=wide, rows=64, length=2048)])
    assert found.refused
    assert 16 * 2**30 < found.peak < math.inf
    assert verdict_of(found.peak, TPU_V5E.memory_budget, 0.15, found.refused) == "does not fit"


@pytest.mark.parametrize("name", MACHINES)
def test_the_scores_of_a_long_row_never_exist_as_a_whole(name: str) -> None:
    found = shapes(hlo(name, SFT))
    assert any(LENGTH in shape and 256 in shape for shape in found)  # those of a block do
    assert not [shape for shape in found if shape.count(LENGTH) > 1]


def test_no_chip_holds_the_whole_embedding() -> None:
    found = shapes(hlo("tpu_v5e", SFT))
    assert (VOCABULARY // 8, WIDTH) in found
    assert not [shape for shape in found if VOCABULARY in shape and math.prod(shape) > VOCABULARY]


def test_writing_a_token_moves_no_weights_between_chips() -> None:
    smallest = WIDTH * 2 * SMALL.num_kv_heads * SMALL.head_dim  # kv_proj
    moved = [
        math.prod(shape)
        for line in hlo("tpu_v5e", WRITE).splitlines()
        if any(f" {name}(" in line or f" {name}-start(" in line for name in _COLLECTIVES)
        for shape in shapes(line.split(" = ")[1].split("(%")[0])
    ]
    assert 0 < max(moved) < smallest


@pytest.mark.parametrize("name", MACHINES)
def test_how_often_loops_run_is_known(name: str) -> None:
    """Of all but the one that ends with the completions."""
    assert None not in [loop.trips for loop in loops(hlo(name, GRPO))]
    assert [loop.trips for loop in loops(hlo(name, WRITE))].count(None) == 1
