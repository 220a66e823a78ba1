"""Floating-point operations of a traced program: its matrix products, loops counted in full."""

from collections.abc import Iterator
from math import prod
from typing import Any

import jax.extend as jex


def matmul_flops(jaxpr: jex.core.Jaxpr, loop_trips: int) -> float:
    """Two operations for each multiplication in a matrix product or convolution.

    All else is left out: on the chips that are planned for it costs bandwidth, not arithmetic. Of
    the branches of a condition the most expensive counts.

    Args:
        jaxpr: of the whole program, for all devices together.
        loop_trips: how often a `while` runs: its length is not in the program. A scan says its own.
    """
    return sum(_flops(equation, loop_trips) for equation in jaxpr.eqns)


def _flops(equation: Any, loop_trips: int) -> float:
    parameters = equation.params
    match equation.primitive.name:
        case "dot_general":
            return _dot_flops(equation)
        case "conv_general_dilated":
            return _convolution_flops(equation)
        case "scan":
            return float(parameters["length"]) * matmul_flops(parameters["jaxpr"].jaxpr, loop_trips)
        case "while":
            inside = (parameters["cond_jaxpr"], parameters["body_jaxpr"])
            return loop_trips * sum(matmul_flops(part.jaxpr, loop_trips) for part in inside)
        case "cond":
            return max(matmul_flops(one.jaxpr, loop_trips) for one in parameters["branches"])
        case "shard_map":
            devices = float(prod(parameters["mesh"].shape.values()))
            return devices * matmul_flops(parameters["jaxpr"], loop_trips)
        case _:
            return sum(matmul_flops(inner, loop_trips) for inner in _inner(equation))


def _inner(equation: Any) -> Iterator[jex.core.Jaxpr]:
    """What jit, checkpoint and custom derivatives call, one copy of each."""
    for value in equation.params.values():
        if isinstance(value, jex.core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, jex.core.Jaxpr):
            yield value


def _dot_flops(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2.0 * float(
        prod(equation.outvars[0].aval.shape) * prod(left[axis] for axis in contracted)
    )


def _convolution_flops(equation: Any) -> float:
    numbers = equation.params["dimension_numbers"]
    kernel = equation.invars[1].aval.shape
    window = prod(kernel) // kernel[numbers.rhs_spec[0]]  # all but the output features
    return 2.0 * float(prod(equation.outvars[0].aval.shape) * window)
