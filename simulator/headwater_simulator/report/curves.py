"""The learning curves: how good the releases were, over rounds and over virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from headwater_simulator.report import scales
from headwater_simulator.report.drawing import Drawing
from headwater_simulator.report.plots import Plot, clock, mark_incidents, thinned, with_unit
from headwater_simulator.report.results import Point, Results
from headwater_simulator.report.words import figure, number, share

MOST_POINTS = 1_200
"""Points of a line; of more an even sample is drawn."""

MOST_LINES = 8
_COLOURS = tuple(f"c{number}" for number in range(1, MOST_LINES + 1))


@dataclass(frozen=True, slots=True)
class _Axis:
    """What a run is followed along: its rounds, or the virtual clock."""

    name: str
    label: str
    scale: scales.Scale
    of: Callable[[Point], float]
    timed: bool = False


def learning(results: Results) -> tuple[Plot, ...]:
    """Return how good the releases were, over rounds and over time, in all and by group."""
    if not results.curve:
        return ()
    results = replace(results, curve=tuple(thinned(results.curve, MOST_POINTS)))
    axes = (
        _Axis("rounds", "round", scales.counts(p.round for p in results.curve), lambda p: p.round),
        _Axis("time", "virtual time", clock(results), lambda p: p.time_ms, timed=True),
    )
    return (
        *(_losses(results, axis) for axis in axes),
        *(_accuracies(results, axis) for axis in axes if results.curve[-1].accuracy is not None),
        *(_groups(results, axis) for axis in axes if results.curve[-1].groups),
    )


def _losses(results: Results, axis: _Axis) -> Plot:
    curve, of = results.curve, axis.of
    known = (v for p in curve for v in (p.loss, p.baseline, p.spread.p10, p.spread.p90))
    title = f"Loss over {axis.name}"
    drawing = Drawing(
        f"loss-{axis.name}",
        title,
        f"The loss of the releases is {figure(curve[0].loss)} at first and "
        f"{figure(curve[-1].loss)} at last; the baseline's is {figure(curve[-1].baseline)}.",
        x=axis.scale,
        y=scales.linear(known),
        x_label=axis.label,
        y_label=with_unit("loss", results),
    )
    drawing.band([(of(p), p.spread.p10, p.spread.p90) for p in curve], "c1")
    drawing.line(((of(p), p.baseline) for p in curve), "faint dashed")
    drawing.line(((of(p), p.loss) for p in curve), "c1")
    words = ((of(p), p.loss, f"release {p.sequence}: {figure(p.loss)}") for p in thinned(curve))
    drawing.dots(words, "c1", _radius(curve))
    _mark(drawing, results, axis)
    legend = (
        ("c1", "release"),
        ("c1 band", "p10 to p90 of devices"),
        ("faint dashed", "baseline"),
    )
    return Plot(title, drawing.svg, legend)


def _accuracies(results: Results, axis: _Axis) -> Plot:
    known = [(axis.of(p), p.accuracy) for p in results.curve if p.accuracy is not None]
    title = f"Accuracy over {axis.name}"
    drawing = Drawing(
        f"accuracy-{axis.name}",
        title,
        f"The accuracy went from {share(known[0][1])} to {share(known[-1][1])}.",
        x=axis.scale,
        y=scales.linear(accuracy for _, accuracy in known),
        x_label=axis.label,
        y_label="accuracy",
    )
    drawing.line(known, "c1")
    drawing.dots(((x, y, share(y)) for x, y in thinned(known)), "c1", _radius(known))
    _mark(drawing, results, axis)
    return Plot(title, drawing.svg)


def _groups(results: Results, axis: _Axis) -> Plot:
    large = {group.name: group.devices for group in results.groups}
    names = sorted(results.curve[-1].groups, key=lambda name: (-large.get(name, 0), name))
    shown = names[:MOST_LINES]
    lines = {
        name: [(axis.of(p), p.groups[name]) for p in results.curve if name in p.groups]
        for name in shown
    }
    title = f"Loss of groups over {axis.name}"
    ends = ", ".join(f"{name} {figure(line[-1][1])}" for name, line in lines.items())
    drawing = Drawing(
        f"groups-{axis.name}",
        title,
        f"The loss of each group at last: {ends}.",
        x=axis.scale,
        y=scales.linear(loss for line in lines.values() for _, loss in line),
        x_label=axis.label,
        y_label=with_unit("loss", results),
    )
    for (_, line), colour in zip(lines.items(), _COLOURS, strict=False):
        drawing.line(line, colour)
    _mark(drawing, results, axis)
    left_out = len(names) - len(shown)
    note = f"{number(left_out, 'smaller group')} left out." if left_out else ""
    return Plot(title, drawing.svg, tuple(zip(_COLOURS, shown, strict=False)), note)


def _radius(marks: Sequence[object]) -> float:
    return 2.5 if len(marks) <= 80 else 1.0


def _mark(drawing: Drawing, results: Results, axis: _Axis) -> None:
    if axis.timed:
        mark_incidents(drawing, results)
