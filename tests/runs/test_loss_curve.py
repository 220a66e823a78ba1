import math
import re
from xml.etree import ElementTree

import pytest

from reasoning_lab.runs.loss_curve import loss_curve
from reasoning_lab.runs.metrics import Point

_SVG = "{http://www.w3.org/2000/svg}"


def lines_of(picture: str) -> list[list[tuple[float, float]]]:
    root = ElementTree.fromstring(picture)
    return [
        [
            (float(x), float(y))
            for x, y in (pair.split(",") for pair in line.get("points", "").split())
        ]
        for line in root.iter(f"{_SVG}polyline")
    ]


def texts_of(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{_SVG}text")]


def test_a_falling_loss_falls_in_the_picture() -> None:
    picture = loss_curve(
        {"training": [Point(1, 3.0), Point(50, 1.0), Point(100, 0.5)]}, label="Loss"
    )
    assert picture is not None
    [line] = lines_of(picture)
    assert [x for x, _ in line] == sorted(x for x, _ in line)
    assert [y for _, y in line] == sorted(y for _, y in line)  # pixels grow downwards
    assert {"Loss", "training", "step", "0", "100", "3"} <= set(texts_of(picture))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 3e5])
def test_everything_lies_inside_the_picture(scale: float) -> None:
    curves = {
        "training": [Point(step, scale * (2 + math.sin(step))) for step in range(1, 5001)],
        "held-out": [Point(step, scale * 2.5) for step in (1000, 5000)],
    }
    picture = loss_curve(curves, label="Loss")
    assert picture is not None
    for line in lines_of(picture):
        assert all(0 < x < 760 and 0 < y < 360 for x, y in line)
    assert len(picture) < 20_000


def test_values_that_are_not_finite_are_left_out() -> None:
    points = [Point(1, 2.0), Point(2, math.nan), Point(3, math.inf), Point(4, 1.0)]
    picture = loss_curve({"training": points}, label="Loss")
    assert picture is not None
    assert len(lines_of(picture)[0]) == 2


@pytest.mark.parametrize("points", [[], [Point(1, math.nan)]])
def test_nothing_to_draw(points: list[Point]) -> None:
    assert loss_curve({"training": points}, label="Loss") is None


@pytest.mark.parametrize("points", [[Point(0, 0.0)], [Point(1, 2.0), Point(2, 2.0)]])
def test_a_single_or_constant_value_can_be_drawn(points: list[Point]) -> None:
    picture = loss_curve({"a & <b>": points}, label="Loss")
    assert picture is not None
    assert "a & <b>" in texts_of(picture)
    assert re.search(r"<circle cx=[^>]*r=\"3.5\"", picture)
