"""The tables of a report, in words and figures, for whatever lays them out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from headwater_simulator.report.results import Device, Results, Spread
from headwater_simulator.report.words import MISSING, duration, figure, share, size, whole


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below headings.

    ``words`` is how many columns, from the left, hold words; the others hold numbers. The last
    column holds words too where ``ends_in_words``.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    ends_in_words: bool = False
    note: str = ""

    def is_words(self, column: int) -> bool:
        """Say whether a column holds words."""
        return column < self.words or (self.ends_in_words and column == len(self.headings) - 1)

    def shortened(self, most: int) -> Table:
        """Return the table with at most so many rows, the others left out of its middle."""
        left_out = len(self.rows) - most
        if left_out <= 0:
            return self
        first = (most + 1) // 2
        gap = ("…",) * len(self.headings)
        note = f"{whole(left_out)} rows in the middle are left out; report.json has them."
        rows = (*self.rows[:first], gap, *self.rows[len(self.rows) - (most - first) :])
        return replace(self, rows=rows, note=" ".join(filter(None, (self.note, note))))


def _rows(rows: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(row) for row in rows)


def curve(results: Results) -> Table:
    """Return how good each release is on the devices that judge it."""
    accuracy = any(point.accuracy is not None for point in results.curve)
    return Table(
        "Quality of the releases",
        ("release", "time", "round", "loss", "p10", "median", "p90", "baseline", "devices")
        + (("accuracy",) if accuracy else ()),
        _rows(
            (
                str(point.sequence), duration(point.time_ms), str(point.round), figure(point.loss),
                figure(point.spread.p10), figure(point.spread.median), figure(point.spread.p90),
                figure(point.baseline), whole(point.spread.devices),
                *((share(point.accuracy),) if accuracy else ()),
            )
            for point in results.curve
        ),
        words=0,
        note=_losses(results) + " Quantiles are over devices.",
    )  # fmt: skip


def groups(results: Results) -> Table:
    """Return what came of each group."""
    return Table(
        "Groups",
        (
            "group", "devices", "first", "last", "p10 to p90", "alone", "gained", "lost", "even",
            "updates", "up", "down",
        ),
        _rows(
            (
                group.name, whole(group.devices), _mean(group.first), _mean(group.last),
                _range(group.last), _mean(group.alone), whole(group.gained), whole(group.lost),
                whole(group.even), whole(group.updates), size(group.bytes_up),
                size(group.bytes_down),
            )
            for group in results.groups
        ),
        note=f"{_losses(results)} Means over devices of the first release, the last one, and of "
        "learning alone; a device gained or lost if the last release is at least a hundredth "
        "better or worse for it than learning alone.",
    )  # fmt: skip


def devices(results: Results) -> Table:
    """Return the devices that are listed singly."""
    left_out = results.devices - len(results.listed)
    return Table(
        "Devices",
        (
            "device", "group", "attacks", "first", "last", "alone", "gain", "served", "examples",
            "updates", "refused", "declined", "lost", "up", "down", "online",
        ),
        _rows(
            (
                device.name, device.group, "yes" if device.attacks else "", figure(device.first),
                figure(device.last), figure(device.alone), figure(gain(device)),
                figure(device.served), whole(device.examples), whole(device.updates),
                whole(device.refused), whole(device.declined), whole(device.lost),
                size(device.bytes_up), size(device.bytes_down), share(device.online),
            )
            for device in results.listed
        ),
        words=3,
        note=_losses(results)
        + (f" {whole(left_out)} more devices are counted, but not listed." if left_out else ""),
    )  # fmt: skip


def rounds(results: Results) -> Table:
    """Return what was asked in each round, and what came of it."""
    return Table(
        "Rounds",
        (
            "round", "opened", "took", "asked", "accepted", "refused", "declined", "failed",
            "staleness", "most", "up", "outcome",
        ),
        _rows(
            (
                str(entry.number), duration(entry.opened_ms),
                MISSING if entry.closed_ms is None else duration(entry.closed_ms - entry.opened_ms),
                whole(entry.asked), whole(entry.accepted), whole(entry.refused),
                whole(entry.declined), whole(entry.failed), figure(entry.staleness_mean),
                str(entry.staleness_max), size(entry.bytes_up), entry.outcome,
            )
            for entry in results.rounds
        ),
        words=0,
        ends_in_words=True,
    )  # fmt: skip


def releases(results: Results) -> Table:
    """Return the release history."""
    return Table(
        "Releases",
        ("release", "time", "round", "version", "what was said"),
        _rows(
            (
                str(release.sequence), duration(release.time_ms), str(release.round),
                release.version[:12], release.words,
            )
            for release in results.releases
        ),
        words=0,
        ends_in_words=True,
    )  # fmt: skip


def refused_candidates(results: Results) -> Table:
    """Return the candidates that the gate refused."""
    return Table(
        "Refused candidates",
        ("round", "time", "what was said"),
        _rows(
            (
                str(entry.number),
                MISSING if entry.closed_ms is None else duration(entry.closed_ms),
                entry.words,
            )
            for entry in results.rounds
            if entry.outcome == "refused"
        ),
        words=0,
        ends_in_words=True,
    )


def attacks(results: Results) -> Table:
    """Return what became of the attackers' updates."""
    return Table(
        "Attacks",
        ("kind", "devices", "sent", "refused", "accepted"),
        _rows(
            (
                attack.kind, whole(attack.devices), whole(attack.sent), whole(attack.refused),
                whole(attack.accepted),
            )
            for attack in results.attacks
        ),
        note="Accepted updates went to the strategy, which may have left them out.",
    )  # fmt: skip


def refusals(results: Results) -> Table:
    """Return the updates that the firewall refused, the newest ones."""
    return Table(
        "Refused updates",
        ("time", "device", "attacks", "reason"),
        _rows(
            (
                duration(refusal.time_ms), refusal.device, "yes" if refusal.attacks else "no",
                refusal.reason,
            )
            for refusal in results.refusals
        ),
        words=4,
        note=f"The newest of {whole(results.totals.updates_refused)}.",
    )  # fmt: skip


def incidents(results: Results) -> Table:
    """Return what the scenario did to the fleet, numbered as the plots mark it."""
    return Table(
        "Incidents",
        ("number", "time", "what happened"),
        _rows(
            (str(number), duration(incident.time_ms), incident.words)
            for number, incident in enumerate(results.incidents, 1)
        ),
        words=0,
        ends_in_words=True,
    )


def presence(results: Results) -> Table:
    """Return how many devices were there, and at work."""
    return Table(
        "Presence",
        ("time", "online", "training"),
        _rows(
            (duration(moment.time_ms), whole(moment.online), whole(moment.training))
            for moment in results.presence
        ),
        words=0,
    )


def totals(results: Results) -> Table:
    """Return counts of the whole run."""
    counts = {name: getattr(results.totals, name) for name in results.totals.__struct_fields__}
    return Table(
        "Totals",
        ("what", "count"),
        _rows(
            (name.replace("_", " "), size(count) if name.startswith("bytes_") else whole(count))
            for name, count in counts.items()
        ),
    )


def gain(device: Device) -> float | None:
    """Return by how much the last release is better for a device than learning alone."""
    if device.last is None or device.alone is None:
        return None
    return device.alone - device.last


def _mean(spread: Spread | None) -> str:
    return figure(spread.mean if spread else None)


def _range(spread: Spread | None) -> str:
    return f"{figure(spread.p10)} to {figure(spread.p90)}" if spread else MISSING


def _losses(results: Results) -> str:
    return f"Losses are in {results.unit}." if results.unit else "Losses have no unit."
