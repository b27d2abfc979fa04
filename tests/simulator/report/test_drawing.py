"""A drawing puts marks where its scales say, and says what is seen."""

from __future__ import annotations

import pytest

from headwater_simulator.report import scales
from headwater_simulator.report.drawing import HEIGHT, WIDTH, Drawing


def drawing(lanes: tuple[str, ...] = ()) -> Drawing:
    return Drawing(
        "d", "A title", "A description", x=scales.counts([10]),
        y=None if lanes else scales.counts([10]), x_label="round", y_label="loss", lanes=lanes,
    )  # fmt: skip


def marks(made: Drawing, tag: str, kind: str) -> list[dict[str, float]]:
    found = [m for m in made.svg.iter(tag) if kind in (m.get("class") or "").split()]
    return [
        {name: float(value) for name, value in m.attrib.items() if name not in ("class", "points")}
        for m in found
    ]


def test_it_is_an_image_with_a_title_and_a_description() -> None:
    svg = drawing().svg
    assert svg.get("role") == "img"
    named = {child.get("id"): child.text for child in svg if child.get("id")}
    assert [named[name] for name in (svg.get("aria-labelledby") or "").split()] == [
        "A title", "A description",
    ]  # fmt: skip


def test_marks_lie_between_the_axes_in_the_right_order() -> None:
    made = drawing()
    made.dots([(0, 0, "low"), (5, 5, "middle"), (10, 10, "high")], "c1", 3)
    low, middle, high = marks(made, "circle", "c1")
    assert low["cx"] < middle["cx"] < high["cx"]
    assert low["cy"] > middle["cy"] > high["cy"]
    assert middle["cx"] == pytest.approx((low["cx"] + high["cx"]) / 2, abs=0.1)
    assert all(0 < dot["cx"] < WIDTH and 0 < dot["cy"] < HEIGHT for dot in (low, middle, high))
    assert [dot[0].text for dot in made.svg.iter("circle")] == ["low", "middle", "high"]


def test_a_column_is_as_high_as_its_figure() -> None:
    made = drawing()
    made.columns([(2, 4, ""), (6, 8, "")], "c1")
    half, whole = marks(made, "rect", "c1")
    assert whole["height"] == pytest.approx(2 * half["height"], abs=0.2)
    assert whole["y"] + whole["height"] == pytest.approx(half["y"] + half["height"], abs=0.1)


def test_a_lying_bar_is_as_long_as_its_figure_and_in_its_lane() -> None:
    made = drawing(("a", "b"))
    made.bar(0, 0, 5, "c1", "")
    made.bar(1, 5, 10, "bad", "")
    first, second = *marks(made, "rect", "c1"), *marks(made, "rect", "bad")
    assert first["width"] == pytest.approx(second["width"], abs=0.1)
    assert first["x"] + first["width"] == pytest.approx(second["x"], abs=0.1)
    assert first["y"] + first["height"] < second["y"]
    assert {"a", "b"} <= {text.text for text in made.svg.iter("text")}


def test_lines_bands_and_moments_are_drawn() -> None:
    made = drawing()
    made.line([(0, 0), (10, 10)], "c1")
    made.band([(0, 1, 2), (10, 3, 4)], "c2")
    made.moment(5, "1", "<cut>")
    made.diagonal()
    assert [len((m.get("points") or "").split()) for m in made.svg.iter("polyline")] == [2, 2]
    assert [len((m.get("points") or "").split()) for m in made.svg.iter("polygon")] == [4]
    assert made.svg.findtext("g/title") == "<cut>"
