"""What is drawn of a run, and what is said beside it: all plots but the learning curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean
from typing import TypeVar

from headwater_simulator.report import scales
from headwater_simulator.report.drawing import Drawing
from headwater_simulator.report.markup import Element
from headwater_simulator.report.results import Device, Results, Round, standing
from headwater_simulator.report.words import duration, figure, number, size, visible, whole

MOST_MARKS = 300
"""Marks along an axis; where there are more moments, neighbours share one."""

MOST_LANES = 8
MOST_MOMENTS = 30
_LANES = ("released", "refused", "void", "same")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing, its title, what its colours mean, and what is said below it."""

    title: str
    svg: Element
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""


def gains(results: Results) -> tuple[Plot, ...]:
    """Return which devices gained from the federation, and which lost."""
    judged = [
        (device, device.alone, device.last)
        for device in results.listed
        if device.alone is not None and device.last is not None
    ]
    if not judged:
        return ()
    scale = scales.spanning(loss for _, alone, last in judged for loss in (alone, last))
    of = {
        kind: [
            (alone, last, _of_device(device, alone, last))
            for device, alone, last in judged
            if standing(last, alone) == kind
        ]
        for kind in ("even", "gained", "lost")
    }
    title = "Who gained, who lost"
    drawing = Drawing(
        "gains",
        title,
        f"Of {number(len(judged), 'device')} that are listed, {whole(len(of['gained']))} lie below "
        "the diagonal: the last release is better for them than what they come to alone. "
        f"{whole(len(of['lost']))} lie above it.",
        x=scale,
        y=scale,
        x_label=with_unit("loss after learning alone", results),
        y_label=with_unit("loss of the last release", results),
    )
    drawing.diagonal()
    kinds = {"even": "faint", "gained": "c1", "lost": "bad"}
    for kind, points in of.items():
        drawing.dots(points, kinds[kind], 3)
    attackers = [(a, b, _of_device(d, a, b)) for d, a, b in judged if d.attacks]
    drawing.dots(attackers, "ring", 5)
    legend = (
        ("c1 dot", "gained"), ("bad dot", "lost"), ("faint dot", "even, within a hundredth"),
        *((("ring dot", "attacks"),) if attackers else ()),
    )  # fmt: skip
    return (Plot(title, drawing.svg, legend),)


def _of_device(device: Device, alone: float, last: float) -> str:
    attacks = ", attacks" if device.attacks else ""
    return f"{device.name} ({device.group}{attacks}): {figure(last)} against {figure(alone)} alone"


def rounds(results: Results) -> tuple[Plot, ...]:
    """Return staleness and bytes of the rounds."""
    if not results.rounds:
        return ()
    bundles = _bundles(results.rounds)
    most = max(len(bundle) for bundle in bundles)
    note = f"A mark stands for up to {number(most, 'round')}." if most > 1 else ""
    return (_staleness(bundles, note), _bytes(bundles, note), _bytes_in_all(bundles))


def _staleness(bundles: Sequence[Sequence[Round]], note: str) -> Plot:
    most = [(_middle(b), max(e.staleness_max for e in b)) for b in bundles]
    mean = [(_middle(b), fmean(e.staleness_mean for e in b)) for b in bundles]
    title = "Staleness over rounds"
    drawing = Drawing(
        "staleness",
        title,
        f"How many versions old the accepted updates were: {figure(fmean(y for _, y in mean))} in "
        f"the mean of all rounds, {max(y for _, y in most)} at most.",
        x=scales.counts(x for x, _ in most),
        y=scales.counts(y for _, y in most),
        x_label="round",
        y_label="versions behind",
    )
    drawing.dots(((x, y, f"at most {y}") for x, y in most), "faint", 2)
    drawing.line(mean, "c1")
    return Plot(title, drawing.svg, (("c1", "mean"), ("faint dot", "most")), note)


def _bytes(bundles: Sequence[Sequence[Round]], note: str) -> Plot:
    points = [(_middle(b), fmean(e.bytes_up for e in b)) for b in bundles]
    title = "Bytes up in each round"
    drawing = Drawing(
        "bytes",
        title,
        f"Devices sent {size(fmean(y for _, y in points))} in a round.",
        x=scales.counts(x for x, _ in points),
        y=scales.sizes(y for _, y in points),
        x_label="round",
    )
    drawing.columns([(x, y, f"round {x:.0f}: {size(y)}") for x, y in points], "c1")
    return Plot(title, drawing.svg, note=note)


def _bytes_in_all(bundles: Sequence[Sequence[Round]]) -> Plot:
    sums = tuple(accumulate(sum(entry.bytes_up for entry in bundle) for bundle in bundles))
    points = [
        (0.0, 0),
        *((bundle[-1].number, up) for bundle, up in zip(bundles, sums, strict=True)),
    ]
    title = "Bytes up in all"
    drawing = Drawing(
        "bytes-all",
        title,
        f"Over all rounds devices sent {size(sums[-1])}.",
        x=scales.counts(x for x, _ in points),
        y=scales.sizes(sums),
        x_label="round",
    )
    drawing.line(points, "c1")
    return Plot(title, drawing.svg)


def presence(results: Results) -> tuple[Plot, ...]:
    """Return how many devices were there, and at work."""
    if not results.presence:
        return ()
    bundles = _bundles(results.presence)
    online = [(b[0].time_ms, fmean(m.online for m in b)) for b in bundles]
    training = [(b[0].time_ms, max(m.training for m in b)) for b in bundles]
    title = "Devices online and training"
    drawing = Drawing(
        "presence",
        title,
        f"Of {number(results.devices, 'device')}, {figure(min(y for _, y in online))} to "
        f"{figure(max(y for _, y in online))} were online, and at most "
        f"{whole(max(y for _, y in training))} trained at once.",
        x=clock(results),
        y=scales.counts((results.devices, *(y for _, y in online))),
        x_label="virtual time",
        y_label="devices",
    )
    drawing.line(online, "c1")
    drawing.line(training, "c2")
    mark_incidents(drawing, results)
    return (Plot(title, drawing.svg, (("c1", "online"), ("c2", "training"))),)


def attacks(results: Results) -> tuple[Plot, ...]:
    """Return what became of the updates of attackers."""
    seen = sorted(results.attacks, key=lambda attack: (-attack.sent, attack.kind))[:MOST_LANES]
    if not seen:
        return ()
    title = "Attacks seen and refused"
    drawing = Drawing(
        "attacks",
        title,
        " ".join(
            f"{a.kind}: {whole(a.sent)} sent, {whole(a.refused)} refused, {whole(a.accepted)} "
            "accepted."
            for a in seen
        ),
        x=scales.counts(max(a.sent, a.refused + a.accepted) for a in seen),
        x_label="updates",
        lanes=[_short(a.kind) for a in seen],
    )
    for lane, attack in enumerate(seen):
        judged = attack.refused + attack.accepted
        drawing.bar(lane, 0, attack.refused, "c1", f"{attack.refused} refused")
        drawing.bar(lane, attack.refused, judged, "bad", f"{attack.accepted} accepted")
        drawing.bar(lane, judged, max(attack.sent, judged), "faint", "sent, and never judged")
    legend = (
        ("c1 bar", "refused by the firewall"),
        ("bad bar", "accepted, for the strategy to deal with"),
        ("faint bar", "not judged"),
    )
    return (Plot(title, drawing.svg, legend),)


def history(results: Results) -> tuple[Plot, ...]:
    """Return the releases and what else became of rounds, as a time line."""
    if not results.releases and not results.rounds:
        return ()
    lanes = (*_LANES, "updates") if results.refusals else _LANES
    counted = {lane: sum(entry.outcome == lane for entry in results.rounds) for lane in _LANES[1:]}
    title = "Release history"
    drawing = Drawing(
        "history",
        title,
        f"{number(len(results.releases), 'release')}; {counted['refused']} candidates were refused "
        f"by the gate, {counted['void']} rounds were void, {counted['same']} changed nothing.",
        x=clock(results),
        x_label="virtual time",
        lanes=lanes,
    )
    releases = (
        (r.time_ms, 0.0, f"release {r.sequence}, {duration(r.time_ms)}: {r.words}")
        for r in thinned(results.releases)
    )
    drawing.dots(releases, "c1", 4)
    for lane, kind in ((1, "bad"), (2, "faint"), (3, "faint")):
        ended = [entry for entry in results.rounds if entry.outcome == lanes[lane]]
        drawing.dots(
            (
                (entry.closed_ms or entry.opened_ms, lane, f"round {entry.number}: {entry.words}")
                for entry in thinned(ended)
            ),
            kind,
            4,
        )
    refused = ((r.time_ms, 4, f"{r.device}: {r.reason}", r.attacks) for r in results.refusals)
    for time_ms, lane, words, attacker in refused:
        drawing.dots([(time_ms, lane, words)], "c2" if attacker else "bad", 3)
    mark_incidents(drawing, results)
    legend = (
        ("c1 dot", "release"),
        ("bad dot", "candidate, or update of a device that does not attack, refused"),
        *((("c2 dot", "attacker's update refused"),) if results.refusals else ()),
    )
    return (Plot(title, drawing.svg, legend),)


def thinned(items: Sequence[T], most: int = MOST_MARKS) -> Sequence[T]:
    """Return at most so many of the items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return items
    step = (len(items) - 1) / (most - 1)
    return [items[round(index * step)] for index in range(most)]


def _bundles(items: Sequence[T]) -> list[Sequence[T]]:
    length = -(-len(items) // MOST_MARKS)
    return [items[start : start + length] for start in range(0, len(items), length)]


def _middle(bundle: Sequence[Round]) -> float:
    return (bundle[0].number + bundle[-1].number) / 2


def clock(results: Results) -> scales.Scale:
    """Return the axis of virtual time, which ends with the last that happened."""
    last: Iterable[Iterable[int]] = (
        (point.time_ms for point in results.curve[-1:]),
        (entry.closed_ms or entry.opened_ms for entry in results.rounds[-1:]),
        (release.time_ms for release in results.releases[-1:]),
        (moment.time_ms for moment in results.presence[-1:]),
    )
    return scales.times(max((time for times in last for time in times), default=results.length_ms))


def mark_incidents(drawing: Drawing, results: Results) -> None:
    """Mark what the scenario did to the fleet, by its number in the table, on an axis of time."""
    for place, incident in enumerate(results.incidents[:MOST_MOMENTS], 1):
        words = f"{duration(incident.time_ms)}: {incident.words}"
        drawing.moment(incident.time_ms, str(place), words)


def with_unit(what: str, results: Results) -> str:
    """Name a loss together with its unit."""
    return f"{what}, {results.unit}" if results.unit else what


def _short(name: str) -> str:
    seen = visible(name)
    return seen if len(seen) <= 11 else f"{seen[:10]}…"
