"""Curves of a run as an SVG picture: no plotting library, readable on light and dark pages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain

from reasoning_lab.runs.metrics import Point

_WIDTH, _HEIGHT = 760, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 52, 48
_COLOURS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#dc2626", "#0891b2", "#ca8a04", "#4b5563")
_INK, _FAINT, _GRID = "#111827", "#6b7280", "#e5e7eb"
_MOST_POINTS = 240  # more than this in 670 pixels is a smear; averages of neighbours are drawn
_LEGEND_ROW = 20  # pixels from one line of the legend to the next

Band = tuple[Sequence[Point], Sequence[Point]]


def curve_picture(
    curves: Mapping[str, Sequence[Point]], *, label: str, bands: Mapping[str, Band] | None = None
) -> str | None:
    """An SVG with one line for each named curve over steps, or None if no finite point is given.

    Points that are NaN or infinite are left out; a curve of one point is a dot.

    Args:
        curves: by the name shown in the legend, drawn in this order.
        label: what the values are, with their unit.
        bands: by the name of a curve, the lower and upper ends of what is shaded around it, as of
            an interval; the steps that both ends have are drawn.
    """
    drawn = {name: _thin_out(points) for name, points in curves.items()}
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return None
    shaded = {name: _common_steps(*band) for name, band in (bands or {}).items() if name in drawn}
    points = [point for curve in [*drawn.values(), *chain(*shaded.values())] for point in curve]
    legend = _legend_lines(list(drawn), label)
    x = _Axis.of_steps(max(point.step for point in points))
    y = _Axis.of_values(
        [point.value for point in points], top=_TOP + _LEGEND_ROW * (len(legend) - 1)
    )
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(drawn)}
    parts = [_frame(label), *_grid(x, y)]
    parts += [_area(*band, colours[name], x, y) for name, band in shaded.items()]
    parts += [_line(curve, name, colours[name], x, y) for name, curve in drawn.items()]
    parts.append(_legend(legend, colours))
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
    def of_values(cls, values: Sequence[float], *, top: float) -> "_Axis":
        """From the tick below the lowest value to the tick above the highest, bottom to top."""
        low, high = min(values), max(values)
        if low == high:
            low, high = low - 0.5, high + 0.5
        tick = _round_tick((high - low) / 5)
        low, high = math.floor(low / tick) * tick, math.ceil(high / tick) * tick
        return cls(low, high, tick, _HEIGHT - _BOTTOM, top)

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        first = math.ceil(self.low / self.tick - 1e-9)  # 3 * 0.1 / 0.1 is a little over 3
        last = math.floor(self.high / self.tick + 1e-9)
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


def _common_steps(low: Sequence[Point], high: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    """Both ends of a band where both are finite, thinned out alike."""
    ends = [{p.step: p for p in end if math.isfinite(p.value)} for end in (low, high)]
    steps = [step for step in ends[0] if step in ends[1]]
    lower, upper = (_thin_out([end[step] for step in steps]) for end in ends)
    return lower, upper


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


def _area(low: Sequence[Point], high: Sequence[Point], colour: str, x: _Axis, y: _Axis) -> str:
    corners = " ".join(f"{x.at(p.step)},{y.at(p.value)}" for p in [*low, *reversed(high)])
    return f'<polygon points="{corners}" fill="{colour}" fill-opacity="0.15"/>'


def _legend_lines(names: Sequence[str], label: str) -> list[list[str]]:
    """Names that fit beside the label, then below it; the first line may be empty."""
    lines: list[list[str]] = [[]]
    room = _WIDTH - _LEFT - _RIGHT - 8.5 * len(label)  # its letters are larger
    for name in names:
        width = _name_width(name) + 32
        if room < width:
            lines.append([])
            room = _WIDTH - _LEFT - _RIGHT
        lines[-1].append(name)
        room -= width
    return lines


def _name_width(name: str) -> float:
    return 7.0 * len(name)  # about 6.5 pixels a character at this size


def _legend(lines: Sequence[Sequence[str]], colours: Mapping[str, str]) -> str:
    """Names at the top right, from right to left so that the last of a line ends at the edge."""
    parts = []
    for number, names in enumerate(lines):
        right, bottom = float(_WIDTH - _RIGHT), 30 + _LEGEND_ROW * number
        for name in reversed(names):
            left = right - _name_width(name)
            parts.append(
                f'<circle cx="{left - 10}" cy="{bottom - 4}" r="4" fill="{colours[name]}"/>'
                f'<text x="{left}" y="{bottom}" fill="{_INK}">{escape(name)}</text>'
            )
            right = left - 32
    return "".join(parts)
