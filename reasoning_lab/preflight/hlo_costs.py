"""Bytes that a compiled XLA module moves, loops counted as often as they run.

XLA's own `compiled.cost_analysis()` counts the body of a loop once, and CUDA has none. Both are
worked round here by reading the text of the optimised module, `compiled.as_text()`, of the TPU, GPU
and CPU back-ends. It is the program of one chip, and so are the bytes.

The accounting is that of XLA's HloCostAnalysis: an instruction reads its operands and writes its
output, what happens inside a fusion is free, and

- names for memory that is there already are free (parameters, tuples, bitcasts, constants);
- slices and gathers read only what they give, also of the operand of a fusion that does nothing
  else with it;
- an update in place (dynamic-update-slice, scatter) touches what is updated, also at the root of a
  fusion;
- of the branches of a conditional the most expensive counts;
- an asynchronous pair (copy-start, copy-done) counts once, where HloCostAnalysis counts both ends.

A TPU pads arrays to tiles, `{1,0:T(8,128)(2,1)}`, and the padding is moved too, so it counts.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

_BITS = {"pred": 8, "token": 0, "opaque": 0, "c64": 64, "c128": 128, "bf16": 16}
"""Element types whose name does not tell their size as s32, f8e4m3fn or u4 do."""

_FREE = frozenset(
    {"parameter", "tuple", "get-tuple-element", "bitcast", "constant", "after-all", "domain"}
    | {"add-dependency", "optimization-barrier", "partition-id", "replica-id", "async-update"}
)
_SLICES = frozenset({"slice", "dynamic-slice", "gather"})
_SAME_ELEMENTS = frozenset({"bitcast", "reshape", "transpose", "copy", "convert"})

_TYPE = re.compile(r"\b([a-z]\w*)\[([^\]]*)\](?:\{([^}]*)\})?")
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.*)")
_CALLED = re.compile(
    r"\b(calls|to_apply|body|condition|true_computation|false_computation|branch_computations)="
    r"(?:\{([^}]*)\}|%?([\w.\-]+))"
)
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


class Loop(NamedTuple):
    """A while loop of a module; `trips` is None where only the data know."""

    name: str
    trips: int | None


@dataclass(frozen=True)
class _Array:
    elements: int
    bytes: float
    in_hbm: bool


@dataclass(frozen=True)
class _Instruction:
    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    text: str
    """All that follows the opcode: operands and attributes."""

    @cached_property
    def arrays(self) -> tuple[_Array, ...]:
        return tuple(_arrays(self.type))

    @property
    def elements(self) -> int:
        return max(1, sum(array.elements for array in self.arrays))

    def called(self, *keys: str) -> list[str]:
        """Names of the computations that an attribute names."""
        return [
            name.strip(" %")
            for key, several, one in _CALLED.findall(self.text)
            if key in keys
            for name in (several or one).split(",")
        ]


@dataclass
class _Computation:
    instructions: dict[str, _Instruction] = field(default_factory=dict)
    root: str = ""

    @cached_property
    def users(self) -> dict[str, list[_Instruction]]:
        users: dict[str, list[_Instruction]] = {}
        for instruction in self.instructions.values():
            for operand in dict.fromkeys(instruction.operands):
                users.setdefault(operand, []).append(instruction)
        return users

    @cached_property
    def parameters(self) -> list[_Instruction]:
        """In the order in which a caller gives them."""
        found = [x for x in self.instructions.values() if x.opcode == "parameter"]
        return sorted(found, key=lambda x: int(x.text[1 : x.text.index(")")]))

    @cached_property
    def outputs(self) -> list[_Instruction]:
        """The root, or what it is a tuple of; once for each array, as of a reduction of two."""
        root = self.instructions[self.root]
        given = [self.instructions[x] for x in root.operands] if root.opcode == "tuple" else [root]
        return [x for x in given for _ in x.arrays]

    def gives(self, x: _Instruction) -> bool:
        """Whether an instruction is an output, under whatever name."""
        return x in self.outputs or any(
            user.opcode == "bitcast" and self.gives(user) for user in self.users.get(x.name, [])
        )


def executed_bytes(
    hlo_text: str, *, unknown_trips: int = 1, hbm_only: bool = False, loops_once: bool = False
) -> float:
    """Bytes read and written by one chip while it runs a module once.

    Args:
        hlo_text: `compiled.as_text()`.
        unknown_trips: how often a loop runs whose end depends on the data, such as decoding.
        hbm_only: leave out arrays that a TPU keeps in another memory than HBM (VMEM, `S(1)` in a
            layout). Only these bytes pass at the speed of HBM, so a shortest time wants True.
            cost_analysis counts all.
        loops_once: count each body once, as cost_analysis does.
    """
    module = _Module(hlo_text)
    return _Count(module, 1 if loops_once else None, unknown_trips, hbm_only).computation(
        module.entry
    )


def loops(hlo_text: str) -> list[Loop]:
    """All while loops of a module, in the order of the text."""
    module = _Module(hlo_text)
    return [
        Loop(x.name, module.trips(computation, x))
        for computation in module.computations.values()
        for x in computation.instructions.values()
        if x.opcode == "while"
    ]


class _Module:
    """The computations of a module by name."""

    def __init__(self, hlo_text: str) -> None:
        self.computations: dict[str, _Computation] = {}
        self.entry = ""
        current = _Computation()
        for line in hlo_text.splitlines():
            if header := _HEADER.match(line):
                current = self.computations.setdefault(header[2], _Computation())
                if header[1]:
                    self.entry = header[2]
            elif found := _INSTRUCTION.match(line):
                current.instructions[found[2]] = _instruction(found[2], found[3])
                if found[1]:
                    current.root = found[2]
        if not self.entry:
            raise ValueError("no ENTRY computation: this is not the text of a compiled XLA module")

    def trips(self, computation: _Computation, loop: _Instruction) -> int | None:
        """How often a loop runs: as XLA says, else read off `counter < constant`."""
        if known := _TRIP_COUNT.search(loop.text):
            return int(known[1])
        [condition] = [self.computations[name] for name in loop.called("condition")]
        test = condition.instructions[condition.root]
        if test.opcode != "compare" or "direction=LT" not in test.text:
            return None
        counter, limit = (condition.instructions[name] for name in test.operands)
        end = _constant(condition, limit)
        if counter.opcode != "get-tuple-element" or end is None:
            return None
        index = int(counter.text.split("index=")[1].split(",")[0])
        start = _constant(computation, _element(computation, loop.operands[0], index))
        [body] = [self.computations[name] for name in loop.called("body")]
        step = _step(body, _element(body, body.root, index))
        return None if start is None or step is None else max(0, math.ceil((end - start) / step))


class _Count:
    """Bytes of computations, each counted once and remembered."""

    def __init__(
        self, module: _Module, forced_trips: int | None, unknown_trips: int, hbm_only: bool
    ) -> None:
        self._module = module
        self._forced_trips = forced_trips
        self._unknown_trips = unknown_trips
        self._hbm_only = hbm_only
        self._known: dict[str, float] = {}

    def computation(self, name: str) -> float:
        if name not in self._known:
            computation = self._module.computations[name]
            self._known[name] = sum(
                self._instruction(computation, x) for x in computation.instructions.values()
            )
        return self._known[name]

    def _instruction(self, within: _Computation, x: _Instruction) -> float:
        if x.opcode in _FREE or '"AllocateBuffer"' in x.text:
            return 0.0
        if x.opcode == "while":
            trips = self._forced_trips or self._module.trips(within, x)
            trips = self._unknown_trips if trips is None else trips
            return trips * self._all(x.called("body", "condition"))
        if x.opcode == "conditional":
            branches = x.called("branch_computations", "true_computation", "false_computation")
            return max(self.computation(name) for name in branches)
        if x.opcode == "call" or (x.opcode == "async-start" and x.called("calls")):
            return self._all(x.called("calls", "to_apply"))
        if x.opcode == "fusion":
            return self._fusion(within, x)
        if x.opcode.endswith("-start") or x.opcode == "async-done":
            return 0.0  # a pair counts where it is done
        return self._ordinary(within, x)

    def _all(self, names: Iterable[str]) -> float:
        return sum(self.computation(name) for name in names)

    def _ordinary(self, within: _Computation, x: _Instruction) -> float:
        operands = [within.instructions[name] for name in x.operands]
        opcode = x.opcode
        if opcode.endswith("-done") and operands:  # its only operand is the start
            opcode = opcode.removesuffix("-done")
            operands = [within.instructions[name] for name in operands[0].operands]
        written = self._size(x)
        if opcode == "custom-call" and 'custom_call_target="__cu' in x.text:
            written = self._bytes(x.arrays[:1])  # cuBLAS and cuDNN also return their scratch memory
        if opcode in _SLICES:
            read = x.elements / operands[0].elements * self._size(operands[0])
            return read + sum(map(self._size, operands[1:])) + written
        if opcode == "dynamic-update-slice":
            share = operands[1].elements / x.elements
            return sum(map(self._size, operands[1:])) + share * written
        if opcode == "scatter":  # reads, combines and writes back as much as there are updates
            targets = len(operands) // 2
            share = operands[-1].elements / operands[0].elements
            return sum(map(self._size, operands[targets:])) + 2 * share * written
        return sum(map(self._size, operands)) + written

    def _fusion(self, within: _Computation, x: _Instruction) -> float:
        [inside] = [self._module.computations[name] for name in x.called("calls")]
        operands = (within.instructions[name] for name in x.operands)
        read = sum(
            self._share_read(inside, parameter) * self._size(operand)
            for parameter, operand in zip(inside.parameters, operands, strict=True)
        )
        return read + sum(
            self._share_written(inside, result) * self._bytes([array])
            for result, array in zip(inside.outputs, x.arrays, strict=True)
        )

    def _share_written(self, inside: _Computation, output: _Instruction) -> float:
        """The part of an output that a fusion writes: of one updated in place the update."""
        if output.opcode == "bitcast":
            return self._share_written(inside, inside.instructions[output.operands[0]])
        if output.opcode == "dynamic-update-slice":
            return inside.instructions[output.operands[1]].elements / output.elements
        if output.opcode == "scatter":
            updates = inside.instructions[output.operands[-1]]
            return min(1.0, 2 * updates.elements / output.elements)
        if output.opcode == "fusion":
            [nested] = [self._module.computations[name] for name in output.called("calls")]
            return self._share_written(nested, nested.outputs[0])
        return 1.0

    def _share_read(self, inside: _Computation, x: _Instruction) -> float:
        """The part of an array that a fusion reads, 0 to 1."""
        if x.name == inside.root:
            return 1.0
        return min(1.0, sum(self._share_used(inside, x, u) for u in inside.users.get(x.name, [])))

    def _share_used(self, inside: _Computation, x: _Instruction, user: _Instruction) -> float:
        if user.opcode in _SLICES and x.name == user.operands[0]:
            return user.elements / x.elements
        if user.opcode in ("dynamic-update-slice", "scatter") and x.name == user.operands[0]:
            return 0.0 if inside.gives(user) else 1.0
        if user.opcode in _SAME_ELEMENTS:
            return self._share_read(inside, user)
        if user.opcode == "fusion":
            [nested] = [self._module.computations[name] for name in user.called("calls")]
            index = user.operands.index(x.name)
            return self._share_read(nested, nested.parameters[index])
        return 1.0

    def _size(self, x: _Instruction) -> float:
        return self._bytes(x.arrays)

    def _bytes(self, arrays: Iterable[_Array]) -> float:
        return sum(array.bytes for array in arrays if array.in_hbm or not self._hbm_only)


def _instruction(name: str, definition: str) -> _Instruction:
    """From `type opcode(operands), attributes`."""
    end = _closing(definition, 0) if definition.startswith("(") else definition.index(" ")
    kind, rest = definition[:end], definition[end:].lstrip()
    start = rest.index("(")
    opcode, text = rest[:start], rest[start:]
    names = [] if opcode in ("constant", "parameter") else _names(text[: _closing(text, 0)])
    return _Instruction(name, kind, opcode, tuple(names), text)


def _names(operands: str) -> list[str]:
    return re.findall(r"%([\w.\-]+)", operands)


def _closing(text: str, start: int) -> int:
    """The index behind the parenthesis that closes the one at `start`."""
    depth = 0
    for match in re.compile(r"[()]").finditer(text, start):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.end()
    raise ValueError(f"no closing parenthesis: {text[start : start + 80]}")


def _arrays(kind: str) -> Iterable[_Array]:
    """The arrays of a type: itself, or the members of a tuple, however deep."""
    for element, shape, layout in _TYPE.findall(kind):
        dims = [int(dim.removeprefix("<=")) for dim in shape.split(",") if dim]
        moved = math.prod(_padded(dims, layout))
        in_hbm = not re.search(r"S\([1-9]", layout)
        yield _Array(math.prod(dims), moved * _bits(element) / 8, in_hbm)


def _padded(dims: list[int], layout: str) -> list[int]:
    """Sizes from the slowest axis to the fastest, filled up to whole tiles."""
    order, _, annotations = layout.partition(":")
    sizes = [dims[int(axis)] for axis in reversed([x for x in order.split(",") if x])]
    tile = re.match(r"T\(([\d,]+)\)", annotations)
    if tile is None:
        return sizes or dims
    tiles = [int(size) for size in tile[1].split(",")]
    sizes = [1] * (len(tiles) - len(sizes)) + sizes
    whole = len(sizes) - len(tiles)
    return sizes[:whole] + [
        -(-size // tile) * tile for size, tile in zip(sizes[whole:], tiles, strict=True)
    ]


def _bits(element: str) -> int:
    if element in _BITS:
        return _BITS[element]
    digits = re.match(r"[a-z]+(\d+)", element)
    if digits is None:
        raise ValueError(f"unknown element type {element!r} in the text of a compiled module")
    return int(digits[1])


def _element(within: _Computation, name: str, index: int) -> _Instruction | None:
    """An element of a tuple, where the tuple is made in this computation."""
    made = within.instructions[name]
    return within.instructions[made.operands[index]] if made.opcode == "tuple" else None


def _constant(within: _Computation, x: _Instruction | None) -> int | None:
    """The number that a scalar is, if it is one."""
    while x is not None and x.opcode in ("copy", "bitcast", "convert"):
        x = within.instructions[x.operands[0]]
    number = re.match(r"\((-?\d+)\)", x.text) if x is not None and x.opcode == "constant" else None
    return int(number[1]) if number else None


def _step(body: _Computation, counter: _Instruction | None) -> int | None:
    """What a loop adds to its counter in each turn."""
    while counter is not None and counter.opcode in ("copy", "bitcast"):
        counter = body.instructions[counter.operands[0]]
    if counter is None or counter.opcode != "add":
        return None
    numbers = [_constant(body, body.instructions[name]) for name in counter.operands]
    return next((number for number in numbers if number is not None), None)
