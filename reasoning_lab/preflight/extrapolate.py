"""Models with a few layers stand for those with many: everything grows by the layer.

Only the number of layers is less; widths, rows and lengths are those of the run.
"""

from reasoning_lab.engine.architecture import Architecture, AttentionKind
from reasoning_lab.preflight.compiled import Compiled

Kinds = tuple[AttentionKind, ...]


def probes(arch: Architecture, tokens: int) -> tuple[Kinds, ...]:
    """The layers of the models to compile, for `extrapolated`.

    Local and global layers differ only where rows have more tokens than a local layer sees.
    """
    kinds = [arch.attention_kind(layer) for layer in range(arch.num_layers)]
    if arch.num_layers <= 4:
        return (tuple(kinds),)
    if len(set(kinds)) == 1:
        return (tuple(kinds[:2]), tuple(kinds[:4]))
    two: Kinds = ("local", "global")
    if arch.sliding_window is None or tokens <= arch.sliding_window:
        return (two, two * 2)
    return (two, two * 2, ("local", *two))


def extrapolated(arch: Architecture, measured: dict[Kinds, Compiled]) -> Compiled:
    """What the whole model would need, from all of its `probes`.

    base + (number of local layers) x local + (number of global layers) x global, solved for base,
    local and global. What is refused with a few layers is refused, and needs at least what the
    compiler said that those need.
    """
    (first_kinds, first), *others = measured.items()
    if not others:
        return first
    kinds = [arch.attention_kind(layer) for layer in range(arch.num_layers)]
    more = {kind: kinds.count(kind) - first_kinds.count(kind) for kind in set(kinds)}

    def solve(name: str) -> float:
        values = [getattr(probe, name) for probe in measured.values()]
        pair = values[1] - values[0]  # one layer of each kind, or two of the only one
        if len(values) == 3:
            local = values[2] - values[0]
            grown = more["local"] * local + more["global"] * (pair - local)
        else:
            grown = sum(more.values()) * pair / 2
        return float(max(values[0] + grown, values[0]))

    refused = [probe.peak for probe in measured.values() if probe.refused]
    return Compiled(
        peak=max([solve("peak"), *refused]),
        arguments=0.0 if refused else solve("arguments"),
        flops=solve("flops"),
        bytes=0.0 if refused else solve("bytes"),
        seconds=solve("seconds"),
        refused=bool(refused),
    )
