"""One plot as SVG: axes, and marks in the colours of the page's style sheet.

Colours are classes (``c1`` to ``c8``, ``bad``, ``faint``), so that a page can be light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headwater_simulator.report.markup import Element, element, extend
from headwater_simulator.report.scales import Scale

WIDTH, HEIGHT = 440, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 32, 42
_ACROSS = WIDTH - _LEFT - _RIGHT
_DOWN = HEIGHT - _TOP - _BOTTOM

Pair = tuple[float, float]


class Drawing:
    """A plot that is drawn mark by mark, later ones above earlier ones.

    Parameters
    ----------
    name
        Its id in the page.
    title, description
        What is seen, for who does not see it.
    x, y
        The scales.
    x_label, y_label
        What is written at the axes.
    lanes
        Names at the left instead of the y axis' figures; lane 0 is the uppermost, and ``y`` runs
        from -0.5 upwards.
    """

    def __init__(
        self,
        name: str,
        title: str,
        description: str,
        *,
        x: Scale,
        y: Scale | None = None,
        x_label: str,
        y_label: str = "",
        lanes: Sequence[str] = (),
    ) -> None:
        self._x = x
        self._y = y or Scale(-0.5, len(lanes) - 0.5, ())
        self._lanes = bool(lanes)
        self.svg = element(
            "svg",
            element("title", title, id=f"{name}-title"),
            element("desc", description, id=f"{name}-desc"),
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            aria_labelledby=f"{name}-title {name}-desc",
        )
        self._grid(lanes)
        extend(
            self.svg,
            _text(x_label, _LEFT + _ACROSS / 2, HEIGHT - 6, "label", anchor="middle"),
            _text(y_label, 2, 11, "label"),
        )

    def line(self, points: Iterable[Pair], kind: str) -> None:
        """Join points."""
        drawn = " ".join(self._at(x, y) for x, y in points)
        extend(self.svg, element("polyline", points=drawn, class_=f"line {kind}"))

    def band(self, points: Sequence[tuple[float, float, float]], kind: str) -> None:
        """Fill what lies between two lines, given as (x, lower, upper)."""
        there = [self._at(x, low) for x, low, _ in points]
        back = [self._at(x, high) for x, _, high in reversed(points)]
        extend(self.svg, element("polygon", points=" ".join(there + back), class_=f"band {kind}"))

    def dots(self, points: Iterable[tuple[float, float, str]], kind: str, radius: float) -> None:
        """Draw points, given as (x, y, what is said of it)."""
        for x, y, words in points:
            extend(
                self.svg,
                element(
                    "circle",
                    element("title", words),
                    cx=self._across(x),
                    cy=self._down(y),
                    r=radius,
                    class_=f"dot {kind}",
                ),
            )

    def columns(self, points: Sequence[tuple[float, float, str]], kind: str) -> None:
        """Draw upright bars from 0, given as (x, y, what is said of it)."""
        width = max(1.0, 0.7 * _ACROSS / max(len(points), 1))
        for x, y, words in points:
            top, foot = self._down(y), self._down(0.0)
            extend(
                self.svg,
                element(
                    "rect",
                    element("title", words),
                    x=self._across(x) - width / 2,
                    y=top,
                    width=width,
                    height=foot - top,
                    class_=f"bar {kind}",
                ),
            )

    def bar(self, lane: int, start: float, end: float, kind: str, words: str) -> None:
        """Draw a lying bar in a lane."""
        left, height = self._across(start), 0.55 * _DOWN / (self._y.high - self._y.low)
        extend(
            self.svg,
            element(
                "rect",
                element("title", words),
                x=left,
                y=self._down(lane) - height / 2,
                width=self._across(end) - left,
                height=height,
                class_=f"bar {kind}",
            ),
        )

    def diagonal(self) -> None:
        """Draw where both axes, which have the same scale, have the same figure."""
        ends = (self._x.low, self._x.high)
        self.line(((end, end) for end in ends), "faint dashed")

    def moment(self, x: float, number: str, words: str) -> None:
        """Mark a moment through the whole height, with a number above it."""
        across = self._across(x)
        extend(
            self.svg,
            element(
                "g",
                element("title", words),
                element("line", x1=across, x2=across, y1=_TOP, y2=_TOP + _DOWN, class_="moment"),
                _text(number, across, _TOP - 4, "moment", anchor="middle"),
            ),
        )

    def _grid(self, lanes: Sequence[str]) -> None:
        right, foot = _LEFT + _ACROSS, _TOP + _DOWN
        for value, words in self._x.ticks:
            across = self._across(value)
            extend(
                self.svg,
                element("line", x1=across, x2=across, y1=foot, y2=foot + 4, class_="axis"),
                _text(words, across, foot + 16, "tick", anchor="middle"),
            )
        named = self._y.ticks or tuple((float(lane), name) for lane, name in enumerate(lanes))
        for value, words in named:
            down = self._down(value)
            extend(
                self.svg,
                element("line", x1=_LEFT, x2=right, y1=down, y2=down, class_="grid"),
                _text(words, _LEFT - 8, down + 4, "tick", anchor="end"),
            )
        extend(self.svg, element("line", x1=_LEFT, x2=right, y1=foot, y2=foot, class_="axis"))

    def _at(self, x: float, y: float) -> str:
        return f"{self._across(x):.1f},{self._down(y):.1f}"

    def _across(self, x: float) -> float:
        return _LEFT + self._x(x) * _ACROSS

    def _down(self, y: float) -> float:
        share = self._y(y)
        return _TOP + (share if self._lanes else 1 - share) * _DOWN


def _text(words: str, x: float, y: float, kind: str, *, anchor: str = "start") -> Element:
    return element("text", words, x=x, y=y, class_=kind, text_anchor=anchor)
