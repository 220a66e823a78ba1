"""Curves of a run as an SVG picture: no plotting library, readable on light and dark pages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from reasoning_lab.runs.metrics import Point

_WIDTH, _HEIGHT = 760, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 52, 48
_COLOURS = ("#2563eb", "#ea580c", "#059669", "#9333ea")
_INK, _FAINT, _GRID = "#111827", "#6b7280", "#e5e7eb"
_MOST_POINTS = 240  # more than this in 670 pixels is a smear; averages of neighbours are drawn


def loss_curve(curves: Mapping[str, Sequence[Point]], *, label: str) -> str | None:
    """An SVG with one line for each named curve over steps, or None if no finite point is given.

    Points that are NaN or infinite are left out; a curve of one point is a dot.

    Args:
        curves: by the name shown in the legend, drawn in this order.
        label: what the values are, with their unit.
    """
    drawn = {name: _thin_out(points) for name, points in curves.items()}
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return None
    points = [point for curve in drawn.values() for point in curve]
    x = _Axis.of_steps(max(point.step for point in points))
    y = _Axis.of_values([point.value for point in points])
    parts = [_frame(label), *_grid(x, y)]
    for (name, curve), colour in zip(drawn.items(), _colours(len(drawn)), strict=True):
        parts.append(_line(curve, name, colour, x, y))
    parts.append(_legend(list(drawn)))
    return "\n".join([*parts, "</svg>"]) + "\n"


@dataclass(frozen=True)
class _Axis:
    """A linear map of values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    tick: float
    start: float
    end: float

    @classmethod
    def of_steps(cls, last: int) -> "_Axis":
        """From 0 to the last step, left to right, ticks at whole steps."""
        last = max(last, 1)
        return cls(0, last, max(1.0, _round_tick(last / 10)), _LEFT, _WIDTH - _RIGHT)

    @classmethod
    def of_values(cls, values: Sequence[float]) -> "_Axis":
        """From the tick below the lowest value to the tick above the highest, bottom to top."""
        low, high = min(values), max(values)
        if low == high:
            low, high = low - 0.5, high + 0.5
        tick = _round_tick((high - low) / 5)
        low, high = math.floor(low / tick) * tick, math.ceil(high / tick) * tick
        return cls(low, high, tick, _HEIGHT - _BOTTOM, _TOP)

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        first, last = math.ceil(self.low / self.tick), math.floor(self.high / self.tick + 1e-9)
        return [number * self.tick for number in range(first, last + 1)]


def _round_tick(raw: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below `raw`."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= raw * (1 - 1e-9))


def _thin_out(points: Sequence[Point]) -> list[Point]:
    finite = [point for point in points if math.isfinite(point.value)]
    size = math.ceil(len(finite) / _MOST_POINTS)
    groups = [finite[i : i + size] for i in range(0, len(finite), max(size, 1))]
    return [
        Point(group[len(group) // 2].step, sum(point.value for point in group) / len(group))
        for group in groups
    ]


def _colours(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]


def _frame(label: str) -> str:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-size="12" fill="{_FAINT}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">\n'
        f"<title>{escape(label)} by step</title>\n"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#ffffff"/>\n'
        f'<text x="{_LEFT}" y="30" font-size="14" font-weight="600" fill="{_INK}">'
        f"{escape(label)}</text>\n"
        f'<text x="{middle}" y="{_HEIGHT - 12}" text-anchor="middle">step</text>'
    )


def _grid(x: _Axis, y: _Axis) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    rows = [
        f'<path d="M{_LEFT} {y.at(value)}H{right}" stroke="{_GRID}"/>'
        f'<text x="{_LEFT - 10}" y="{y.at(value) + 4:.1f}" text-anchor="end">{value:.4g}</text>'
        for value in y.ticks()
    ]
    columns = [
        f'<text x="{x.at(value)}" y="{bottom + 18}" text-anchor="middle">{value:.4g}</text>'
        for value in x.ticks()
    ]
    return [*rows, *columns]


def _line(points: Sequence[Point], name: str, colour: str, x: _Axis, y: _Axis) -> str:
    path = " ".join(f"{x.at(point.step)},{y.at(point.value)}" for point in points)
    dots = ""
    if len(points) <= 20:  # few points are measurements to be seen, not a course
        dots = "".join(
            f'<circle cx="{x.at(p.step)}" cy="{y.at(p.value)}" r="3.5" fill="{colour}"/>'
            for p in points
        )
    return (
        f'<g aria-label="{escape(name)}"><polyline points="{path}" fill="none" stroke="{colour}" '
        f'stroke-width="2" stroke-linejoin="round" stroke-linecap="round"/>{dots}</g>'
    )


def _legend(names: Sequence[str]) -> str:
    """Names at the top right, from right to left so that the last ends at the edge."""
    parts = []
    right = float(_WIDTH - _RIGHT)
    for name, colour in reversed(list(zip(names, _colours(len(names)), strict=True))):
        width = 7.0 * len(name)  # about 6.5 pixels a character at this size
        parts.append(
            f'<circle cx="{right - width - 10}" cy="26" r="4" fill="{colour}"/>'
            f'<text x="{right - width}" y="30" fill="{_INK}">{escape(name)}</text>'
        )
        right -= width + 32
    return "".join(parts)
