"""How well the agents of each group predicted their streams, over virtual time and in all."""

from __future__ import annotations

from collections.abc import Sequence

from headwater_simulator.report import scales
from headwater_simulator.report.drawing import Drawing
from headwater_simulator.report.plots import Plot, clock, mark_incidents, thinned, with_unit
from headwater_simulator.report.results import Results, Served
from headwater_simulator.report.tables import Table
from headwater_simulator.report.words import figure, number, whole

MOST_GROUPS = 6
MOST_POINTS = 400
MODELS = (("baseline", "faint dashed"), ("released", "c1"), ("personal", "c2"), ("served", "c3"))


def plots(results: Results) -> tuple[Plot, ...]:
    """Return a plot for each of the groups that had most labels."""
    groups = _groups(results)
    largest = sorted(groups, key=lambda name: (-_labels(groups[name]), name))[:MOST_GROUPS]
    left_out = len(groups) - len(largest)
    note = f"{number(left_out, 'smaller group')} left out." if left_out else ""
    return tuple(
        _plot(results, place, (name, groups[name]), note) for place, name in enumerate(largest, 1)
    )


def table(results: Results) -> Table:
    """Return the errors of each group over all its labels."""
    return Table(
        "Predictions of the agents",
        ("group", "labels", *(name for name, _ in MODELS)),
        tuple(
            (
                name,
                whole(_labels(moments)),
                *(figure(_mean(moments, model)) for model, _ in MODELS),
            )
            for name, moments in _groups(results).items()
        ),
        words=1,
        note="Mean errors, each prediction made before its label was seen. "
        "What was published (served) is the personal model's where that had proved itself, "
        "and the release's elsewhere.",
    )


def _plot(results: Results, place: int, group: tuple[str, Sequence[Served]], note: str) -> Plot:
    name, moments = group
    shown = thinned(moments, MOST_POINTS)
    known = (getattr(one, model) for one in shown for model, _ in MODELS)
    title = f"Errors of predictions: {name}"
    drawing = Drawing(
        f"served-{place}",
        title,
        f"Over all {whole(_labels(moments))} labels the baseline's error is "
        f"{figure(_mean(moments, 'baseline'))}, that of what was published "
        f"{figure(_mean(moments, 'served'))}.",
        x=clock(results),
        y=scales.linear(known),
        x_label="virtual time",
        y_label=with_unit("error", results),
    )
    for model, kind in MODELS:
        drawing.line(((one.time_ms, getattr(one, model)) for one in shown), kind)
    mark_incidents(drawing, results)
    legend = tuple((kind, model) for model, kind in MODELS)
    return Plot(title, drawing.svg, legend, note)


def _groups(results: Results) -> dict[str, list[Served]]:
    found: dict[str, list[Served]] = {}
    for one in results.served:
        found.setdefault(one.group, []).append(one)
    return found


def _labels(moments: Sequence[Served]) -> int:
    return sum(one.labels for one in moments)


def _mean(moments: Sequence[Served], model: str) -> float:
    total: float = sum(one.labels * getattr(one, model) for one in moments)
    return total / _labels(moments)
