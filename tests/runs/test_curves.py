import math
import re
from xml.etree import ElementTree

import pytest

from reasoning_lab.runs.curves import curve_picture
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
    picture = curve_picture(
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
    picture = curve_picture(curves, label="Loss")
    assert picture is not None
    for line in lines_of(picture):
        assert all(0 < x < 760 and 0 < y < 360 for x, y in line)
    assert len(picture) < 20_000


def test_values_that_are_not_finite_are_left_out() -> None:
    points = [Point(1, 2.0), Point(2, math.nan), Point(3, math.inf), Point(4, 1.0)]
    picture = curve_picture({"training": points}, label="Loss")
    assert picture is not None
    assert len(lines_of(picture)[0]) == 2


@pytest.mark.parametrize("points", [[], [Point(1, math.nan)]])
def test_nothing_to_draw(points: list[Point]) -> None:
    assert curve_picture({"training": points}, label="Loss") is None


@pytest.mark.parametrize("points", [[Point(0, 0.0)], [Point(1, 2.0), Point(2, 2.0)]])
def test_a_single_or_constant_value_can_be_drawn(points: list[Point]) -> None:
    picture = curve_picture({"a & <b>": points}, label="Loss")
    assert picture is not None
    assert "a & <b>" in texts_of(picture)
    assert re.search(r"<circle cx=[^>]*r=\"3.5\"", picture)


def shapes_of(picture: str, kind: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture).iter(_SVG + kind))


def test_a_band_lies_around_its_curve_and_inside_the_picture() -> None:
    curve = [Point(10, 0.4), Point(20, 0.5), Point(30, 0.6)]
    low = [Point(p.step, p.value - 0.3) for p in curve]
    high = [Point(p.step, p.value + 0.3) for p in curve[:2]] + [Point(30, math.nan)]
    picture = curve_picture({"correct": curve}, label="Accuracy", bands={"correct": (low, high)})
    assert picture is not None
    [area] = shapes_of(picture, "polygon")
    corners = [tuple(map(float, pair.split(","))) for pair in area.get("points", "").split()]
    [line] = lines_of(picture)

    assert len(corners) == 4  # the last step has no upper end
    assert max(y for _, y in corners) > max(y for _, y in line[:2])
    assert min(y for _, y in corners) < min(y for _, y in line[:2])
    assert all(0 < y < 360 for _, y in corners)
    assert {"0", "0.8"} <= set(texts_of(picture))  # the axis spans the band too


def test_a_band_without_its_curve_is_left_out() -> None:
    band = ([Point(1, 0.0)], [Point(1, 1.0)])
    assert curve_picture({"correct": []}, label="Accuracy", bands={"correct": band}) is None


def test_a_legend_that_is_too_long_for_the_title_goes_on_below() -> None:
    names = [f"reward number {number}" for number in range(9)]
    curves = {name: [Point(1, 0.0), Point(2, float(i))] for i, name in enumerate(names)}
    picture = curve_picture(curves, label="A rather long label of the reward (mean)")
    assert picture is not None
    places = [
        (float(text.get("x", "")), float(text.get("y", "")), text.text)
        for text in shapes_of(picture, "text")
        if text.text in names
    ]
    top_of_plot = min(
        float(path.get("d", "").split()[1].split("H")[0]) for path in shapes_of(picture, "path")
    )

    assert len(places) == 9
    assert len({y for _, y, _ in places}) > 1
    assert all(64 <= x < 736 and y < top_of_plot for x, y, _ in places)
    assert all(x > 380 for x, y, _ in places if y == 30)  # right of the label


def test_every_gridline_of_the_axis_is_drawn() -> None:
    """0.3 is 3 ticks of 0.1, but not in floating point."""
    picture = curve_picture({"a": [Point(1, 0.305), Point(2, 0.695)]}, label="Share")
    assert picture is not None
    assert {"0.3", "0.4", "0.5", "0.6", "0.7"} <= set(texts_of(picture))
