"""The programs that are planned are those that runs execute."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import pytest
import tiny_grpo
from jax.sharding import Mesh
from tiny_models import ALL_LINEAR, SMALL, tiny_policy

from reasoning_lab.data.packing import PackedRows, TokenizedExample
from reasoning_lab.engine import decoding, generate, grpo_step, sft_step
from reasoning_lab.engine.layout import Execution
from reasoning_lab.engine.models import Policy
from reasoning_lab.engine.programs import Call, Program, ReadPrompts, Setting, WriteCompletions
from reasoning_lab.engine.run_programs import evaluation_programs, grpo_programs, sft_programs
from reasoning_lab.engine.specs import LoraSpec
from reasoning_lab.engine.trainer import SFTTrainer, held_out_loss
from reasoning_lab.formats import SOLUTION_END
from reasoning_lab.hardware.specs import HardwareSpec
from reasoning_lab.stages.specs import SFTSpec

pytestmark = pytest.mark.filterwarnings("ignore:`with mesh.` context manager")  # by RLCluster

HARDWARE = HardwareSpec(
    platform="cpu",
    param_dtype="float32",
    remat=False,
    rows_per_micro_batch=2,
    generation_batch_size=tiny_grpo.GROUPS * tiny_grpo.G,
)


@dataclass
class Recorder:
    """Stands for a jitted function, calls it, and keeps what it was called with."""

    function: Any
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def __call__(self, *args: Any, **static: Any) -> Any:
        self.calls.append((tuple(map(abstract, args)), static))
        return self.function(*args, **static)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], Recorder]:
    def start(module: Any, name: str) -> Recorder:
        recorder = Recorder(getattr(module, name))
        monkeypatch.setattr(module, name, recorder)
        return recorder

    return start


def abstract(argument: Any) -> Any:
    """Types of all arrays in an argument, as jit tells programs apart, by their names.

    nnx's containers and dicts of the same names are alike: they change no program's size.
    """
    described = []
    for path, leaf in jax.tree.leaves_with_path(argument):
        aval = jax.api_util.shaped_abstractify(leaf)
        names = tuple(str(vars_of(key)) for key in path)
        described.append((names, aval.shape, str(aval.dtype), aval.weak_type))
    return described


def vars_of(key: Any) -> Any:
    """The name or index in a key of a path."""
    return next(getattr(key, name) for name in ("key", "name", "idx") if hasattr(key, name))


def setting_of(policy: Policy, lora: LoraSpec) -> Setting:
    return Setting(
        arch=policy.arch,
        param_dtype="float32",
        lora_rank=lora.rank,
        target_modules=lora.target_modules,
        remat=HARDWARE.remat,
        logit_tokens=HARDWARE.logit_tokens,
    )


def assert_planned(recorder: Recorder, program: Program, mesh: Mesh) -> None:
    """All calls, of which there are some, are those of a program."""
    planned: Call = program.call(mesh)
    assert getattr(planned.function, "function", planned.function) is recorder.function
    assert recorder.calls
    for args, static in recorder.calls:
        for name, called, wanted in zip(
            planned.arrays, args, map(abstract, planned.arrays.values()), strict=True
        ):
            assert called == wanted, name
        assert comparable(static) == comparable(planned.static)


def comparable(static: Mapping[str, Any]) -> dict[str, Any]:
    """Static arguments without what changes nothing that is planned: one device is no mesh."""
    left = {name: value for name, value in static.items() if name not in ("direction", "end_ids")}
    if "execution" in left:
        left["execution"] = replace(left["execution"], mesh=None)
    return left


def test_supervised_fine_tuning_runs_what_is_planned(
    tmp_path: Path, record: Callable[[Any, str], Recorder]
) -> None:
    stage = SFTSpec(max_length=16, batch_tokens=64, max_steps=2, eval_every=1)
    policy = tiny_policy(SMALL)
    examples = [TokenizedExample(list(range(1, n)), 3, str(n)) for n in range(8, 17)]
    rows = PackedRows(examples, max_length=16, rows_per_batch=4, seed=0)
    execution = Execution.on(policy.mesh, HARDWARE)
    steps, losses = record(sft_step, "train_step"), record(sft_step, "evaluation_loss")
    trainer = SFTTrainer(
        policy,
        stage,
        batch_fn=rows.batch,
        max_steps=2,
        micro_batches=HARDWARE.micro_batches(4),
        execution=execution,
        checkpoint_dir=tmp_path,
    )
    trainer.fit()
    held_out = PackedRows(examples, max_length=16, rows_per_batch=2, seed=0)
    held_out_loss(policy, [held_out.batch(0)], execution)

    step, loss = sft_programs(setting_of(policy, ALL_LINEAR), stage, HARDWARE)
    assert_planned(steps, step, policy.mesh)
    assert_planned(losses, loss, policy.mesh)


def test_grpo_runs_what_is_planned(tmp_path: Path, record: Callable[[Any, str], Recorder]) -> None:
    stage = replace(tiny_grpo.STAGE, max_steps=1, num_iterations=2)
    policy = tiny_policy(tiny_grpo.ARCH, tiny_grpo.LORA)
    recorders = [
        record(generate, "prefill"),
        record(generate, "decode"),
        record(grpo_step, "log_probs_of_rows"),
        record(grpo_step, "train_step"),
    ]
    tiny_grpo.train(tiny_grpo.new_trainer(tmp_path, stage, policy=policy))

    planned = list(grpo_programs(setting_of(policy, tiny_grpo.LORA), stage, HARDWARE))
    closing = len(policy.tokenizer.encode(SOLUTION_END))
    planned = [_with_closing(program, closing) for program in planned]
    for recorder, program in zip(recorders, planned, strict=True):
        assert_planned(recorder, program, policy.mesh)


def test_evaluations_run_what_is_planned(record: Callable[[Any, str], Recorder]) -> None:
    policy = tiny_policy(SMALL)
    reads, writes = record(generate, "prefill"), record(generate, "decode")
    prompts = [[*range(3, 43), n, *range(3, 3 + 60)] for n in range(3, 8)]
    policy.generator(batch_size=8).complete(prompts, 40)

    programs = evaluation_programs(
        setting_of(policy, ALL_LINEAR),
        replace(HARDWARE, generation_batch_size=8),
        problems=5,
        prompt_length=128,
        new_tokens=40,
    )
    for recorder, program in zip((reads, writes), programs, strict=True):
        assert_planned(recorder, program, policy.mesh)


def test_a_program_with_other_layers_is_the_same_but_for_them() -> None:
    policy = tiny_policy(tiny_grpo.ARCH, tiny_grpo.LORA)
    setting = setting_of(policy, tiny_grpo.LORA)
    for program in grpo_programs(setting, tiny_grpo.STAGE, HARDWARE):
        shallow = program.with_layers(("local", "local", "global"))
        arrays = shallow.call(policy.mesh).arrays
        assert len(arrays["base"]["layers"]) == len(arrays["params"]["layers"]) == 3
        if isinstance(shallow, WriteCompletions):
            assert len(arrays["common"].layers) == len(arrays["state"].cache.layers) == 3
        assert replace(shallow, **_layers_of(program)) == program


def test_a_planned_program_compiles() -> None:
    policy = tiny_policy(tiny_grpo.ARCH, tiny_grpo.LORA)
    program, *_ = grpo_programs(setting_of(policy, tiny_grpo.LORA), tiny_grpo.STAGE, HARDWARE)
    assert program.call(policy.mesh).function is decoding.prefill
    compiled = program.call(policy.mesh).trace().lower().compile()
    assert compiled.memory_analysis().argument_size_in_bytes > policy.base["embedding"].nbytes


def _with_closing(program: Program, tokens: int) -> Program:
    match program:
        case ReadPrompts():
            return replace(program, closing=tokens)
        case WriteCompletions():
            return replace(program, prompts=replace(program.prompts, closing=tokens))
    return program


def _layers_of(program: Program) -> dict[str, Any]:
    changed: dict[str, Any] = {"setting": program.setting}
    if isinstance(program, WriteCompletions):
        changed["prompts"] = program.prompts
    return changed
