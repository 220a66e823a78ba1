"""A few layers stand for many."""

from dataclasses import replace

import pytest

from reasoning_lab.engine.architecture import ARCHITECTURES, Architecture
from reasoning_lab.preflight.compiled import Compiled
from reasoning_lab.preflight.extrapolate import Kinds, extrapolated, probes

GEMMA3 = ARCHITECTURES["gemma3_1b"]
GEMMA2 = ARCHITECTURES["gemma2_2b"]
GEMMA1 = ARCHITECTURES["gemma_2b"]
BASE, LOCAL, GLOBAL = 100.0, 3.0, 7.0


def cost(kinds: Kinds) -> Compiled:
    """A model whose costs grow by the layer."""
    total = BASE + LOCAL * kinds.count("local") + GLOBAL * kinds.count("global")
    return Compiled(
        peak=total, arguments=total / 2, flops=2 * total, bytes=3 * total, seconds=4 * total
    )


def all_kinds(arch: Architecture) -> Kinds:
    return tuple(arch.attention_kind(layer) for layer in range(arch.num_layers))


@pytest.mark.parametrize("arch", [GEMMA3, GEMMA2, GEMMA1])
def test_what_grows_by_the_layer_is_found_exactly(arch: Architecture) -> None:
    measured = {kinds: cost(kinds) for kinds in probes(arch, tokens=100_000)}
    assert extrapolated(arch, measured) == cost(all_kinds(arch))


def test_layers_are_alike_where_rows_fit_into_the_window() -> None:
    assert len(probes(GEMMA3, tokens=512)) == 2
    assert len(probes(GEMMA3, tokens=513)) == 3


def test_probes_have_two_to_four_layers() -> None:
    for arch in (GEMMA1, GEMMA2, GEMMA3):
        assert {len(kinds) for kinds in probes(arch, tokens=100_000)} <= {2, 3, 4}


def test_a_small_model_is_compiled_as_it_is() -> None:
    small = replace(GEMMA3, num_layers=3)
    [kinds] = probes(small, tokens=1024)
    assert kinds == all_kinds(small)
    assert extrapolated(small, {kinds: cost(kinds)}) == cost(kinds)


def test_what_is_refused_with_few_layers_is_refused() -> None:
    first, *others = probes(GEMMA3, tokens=1024)
    refused = {
        kinds: replace(cost(kinds), peak=5e9, arguments=0.0, bytes=0.0, refused=True)
        for kinds in others
    }
    whole = extrapolated(GEMMA3, {first: cost(first), **refused})
    assert whole.refused
    assert whole.peak >= 5e9
    assert whole.flops == cost(all_kinds(GEMMA3)).flops
