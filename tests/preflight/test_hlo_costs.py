"""Bytes of compiled modules: against XLA's own count, and with loops as often as they run.

tests/preflight/modules/ holds what the three back-ends make of the same program, without metadata:

    def scan(x, ws):  # x bf16[1024, 1024], ws bf16[7, 1024, 1024]
        return jax.lax.scan(lambda c, w: (jnp.tanh(c @ w), c.sum()), x, ws)

On the TPU both are split over eight chips.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from reasoning_lab.preflight.hlo_costs import executed_bytes, loops

MODULES = Path(__file__).parent / "modules"
KIB = 1024


def compiled(function: Any, *shapes: tuple[int, ...], donate: tuple[int, ...] = ()) -> Any:
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function, donate_argnums=donate).lower(*arguments).compile()


def as_xla_counts(program: Any) -> float:
    return float(program.cost_analysis()["bytes accessed"])


def module(body: str) -> str:
    return f"HloModule test, is_scheduled=true\n\n{body}"


@pytest.mark.parametrize("back_end", ["tpu", "gpu", "cpu"])
def test_the_trips_of_a_loop_are_read_from_what_each_back_end_writes(back_end: str) -> None:
    """GPU and CPU say `known_trip_count`; on the TPU the condition compares with a constant."""
    text = (MODULES / f"{back_end}_scan.txt").read_text()
    [(_, trips)] = loops(text)
    assert trips == 7
    once = executed_bytes(text, loops_once=True)
    body = (executed_bytes(text) - once) / 6
    assert 0 < body < once


@pytest.mark.parametrize(("back_end", "by_xla"), [("tpu", 7_880_192.0), ("cpu", 85_983_408.0)])
def test_bodies_counted_once_are_what_cost_analysis_gives(back_end: str, by_xla: float) -> None:
    """That of the compilation from which the file is; there is none on CUDA."""
    text = (MODULES / f"{back_end}_scan.txt").read_text()
    assert executed_bytes(text, loops_once=True) == pytest.approx(by_xla, rel=0.1)


def test_vmem_of_a_tpu_can_be_left_out() -> None:
    """In this program almost all stands in VMEM: from HBM come x once and one of ws each turn."""
    text = (MODULES / "tpu_scan.txt").read_text()
    slice_of_ws = 128 * 1024 * 2
    assert executed_bytes(text, hbm_only=True) < 10 * slice_of_ws < executed_bytes(text) / 10
    with_loops_once = executed_bytes(text, hbm_only=True, loops_once=True)
    assert executed_bytes(text, hbm_only=True) - with_loops_once == pytest.approx(
        6 * slice_of_ws, rel=0.02
    )


def test_cost_analysis_counts_the_body_of_a_loop_once() -> None:
    """When this fails: XLA multiplies by trip counts now; only CUDA needs executed_bytes."""

    def steps(count: int) -> Any:
        return compiled(
            lambda x: jax.lax.scan(lambda c, _: (jnp.sin(c) @ c, None), x, None, count)[0],
            (128, 128),
        )

    assert as_xla_counts(steps(7)) == pytest.approx(as_xla_counts(steps(70)))
    bytes_of_7, bytes_of_70 = (executed_bytes(steps(count).as_text()) for count in (7, 70))
    assert bytes_of_70 == pytest.approx(10 * bytes_of_7, rel=0.1)


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda x, y: x @ y, [(256, 128), (128, 64)]),
        (lambda x, y: jnp.tanh(x @ y).sum(axis=0), [(256, 128), (128, 64)]),
        (lambda x: jax.nn.softmax(x * 2, axis=-1), [(64, 512)]),
        (lambda x, y: jnp.concatenate([x, y]).T + 1, [(64, 32), (16, 32)]),
        (lambda x: (x[:3] * 2, x.max()), [(64, 32)]),
        (lambda x: jnp.sort(x, axis=0), [(64, 32)]),
    ],
)
def test_without_loops_it_is_what_cost_analysis_gives(
    function: Any, shapes: list[tuple[int, ...]]
) -> None:
    program = compiled(function, *shapes)
    assert loops(program.as_text()) == []
    assert executed_bytes(program.as_text()) == pytest.approx(as_xla_counts(program), rel=0.1)


def test_nested_loops_multiply() -> None:
    def inner(c: jax.Array, _: None) -> tuple[jax.Array, None]:
        return jnp.sin(c) @ c, None

    def outer(c: jax.Array, _: None) -> tuple[jax.Array, None]:
        return jax.lax.scan(inner, c, None, 5)[0], None

    nested = compiled(lambda x: jax.lax.scan(outer, x, None, 7)[0], (128, 128)).as_text()
    flat = compiled(lambda x: jax.lax.scan(inner, x, None, 35)[0], (128, 128)).as_text()
    assert sorted(loop.trips or 0 for loop in loops(nested)) == [5, 7]
    assert executed_bytes(nested) == pytest.approx(executed_bytes(flat), rel=0.2)


def test_a_loop_that_depends_on_data_runs_as_often_as_one_says() -> None:
    program = compiled(
        lambda x: jax.lax.while_loop(lambda c: c.sum() < 3, lambda c: jnp.sin(c) @ c, x), (128, 128)
    )
    text = program.as_text()
    assert [loop.trips for loop in loops(text)] == [None]
    once, often = (executed_bytes(text, unknown_trips=trips) for trips in (1, 101))
    assert often > 50 * once > 0


def test_of_the_branches_of_a_conditional_the_dearest_counts() -> None:
    def cheap(x: jax.Array) -> jax.Array:
        return x * 2

    def dear(x: jax.Array) -> jax.Array:
        return jnp.sort(jnp.sort(x, axis=0), axis=1)

    def either(yes: Any, no: Any) -> float:
        program = compiled(lambda x: jax.lax.cond(x[0, 0] > 0, yes, no, x), (256, 256))
        return executed_bytes(program.as_text())

    assert either(cheap, dear) == either(dear, cheap) > either(cheap, cheap)


def test_an_update_in_place_costs_the_update() -> None:
    def update(cache: jax.Array, new: jax.Array, index: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice(cache, new[None], (index.astype(int), 0, 0))

    program = compiled(update, (64, 32, 32), (32, 32), (), donate=(0,))
    assert executed_bytes(program.as_text()) == pytest.approx(2 * 32 * 32 * 4, rel=0.02)


def test_a_gather_reads_the_rows_it_gives() -> None:
    """XLA's count on the CPU is the whole table."""

    def rows(table: jax.Array, index: jax.Array) -> jax.Array:
        return jnp.take(table, index.astype(int), axis=0) * 2

    assert executed_bytes(compiled(rows, (10_000, 64), (8,)).as_text()) < 3 * 8 * 64 * 4


_ASYNC = """\
ENTRY %main (x: f32[1024]) -> f32[1024] {
  %x = f32[1024]{0:T(1024)} parameter(0)
  %copy-start = (f32[1024]{0:T(1024)S(1)}, f32[1024]{0:T(1024)}, u32[]{:S(2)}) copy-start(%x)
  ROOT %copy-done = f32[1024]{0:T(1024)S(1)} copy-done(%copy-start)
}
"""


def test_an_asynchronous_pair_counts_once() -> None:
    text = module(_ASYNC)
    assert executed_bytes(text) == 2 * 4 * KIB
    assert executed_bytes(text, hbm_only=True) == 4 * KIB  # it is written to VMEM


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("f32[]", 4),
        ("f32[]{:T(128)}", 512),
        ("bf16[7]{0:T(256)(128)(2,1)}", 512),
        ("bf16[3,130]{1,0:T(8,128)(2,1)}", 8 * 256 * 2),
        ("bf16[3,130]{0,1:T(8,128)(2,1)}", 136 * 128 * 2),
        ("f32[5,3,130]{2,1,0:T(8,128)}", 5 * 8 * 256 * 4),
        ("pred[10]{0}", 10),
        ("s4[10]{0:E(4)}", 5),
        ("f8e4m3fn[10]{0}", 10),
        ("c64[10]{0}", 80),
        ("token[]", 0),
        ("(f32[2]{0}, (s8[3]{0}, token[]), /*index=2*/opaque[])", 11),
    ],
)
def test_sizes_of_types(kind: str, size: float) -> None:
    """A TPU's tiles are filled up; the last axis in a layout is the slowest."""
    text = module(
        f"ENTRY %main () -> {kind} {{\n  ROOT %y = {kind} custom-call(), custom_call_target="
        '"Make"\n}\n'
    )
    assert executed_bytes(text) == size


_LOOP = """\
%condition (c: (s32[], s32[])) -> pred[] {
  %c = (s32[], s32[]) parameter(0)
  %limit = s32[] constant(10)
  %i = s32[] get-tuple-element(%c), index=1
  ROOT %less = pred[] compare(%i, %limit), direction=DIRECTION
}

%body (b: (s32[], s32[])) -> (s32[], s32[]) {
  %b = (s32[], s32[]) parameter(0)
  %zero = s32[] get-tuple-element(%b), index=0
  %i = s32[] get-tuple-element(%b), index=1
  %step = s32[] constant(3)
  %next = s32[] add(%i, %step)
  ROOT %both = (s32[], s32[]) tuple(%zero, %next)
}

ENTRY %main (start: s32[]) -> (s32[], s32[]) {
  %start = s32[] parameter(0)
  %one = s32[] constant(1)
  %first = s32[] copy(%one)
  %state = (s32[], s32[]) tuple(%start, %FIRST)
  ROOT %while = (s32[], s32[]) while(%state), condition=%condition, body=%body
}
"""


@pytest.mark.parametrize(
    ("direction", "first", "trips"),
    [("LT", "first", 3), ("NE", "first", None), ("LT", "start", None)],
)
def test_trips_are_known_only_from_constants(direction: str, first: str, trips: int | None) -> None:
    """1, 4, 7 are below 10; who counts from an argument, or until it is met, may do anything."""
    text = module(_LOOP.replace("DIRECTION", direction).replace("FIRST", first))
    assert loops(text) == [("while", trips)]


def test_text_that_is_no_module_is_an_error() -> None:
    with pytest.raises(ValueError, match="no ENTRY computation"):
        executed_bytes("module @jit_f attributes {mhlo.num_partitions = 1 : i32}")
