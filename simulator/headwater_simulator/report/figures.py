"""The figures by which two runs are compared: those of each device, and those of a whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from headwater_simulator.report.results import Device, Results
from headwater_simulator.report.tables import gain

Better = Literal["lower", "higher", ""]


@dataclass(frozen=True, slots=True)
class OfDevice:
    """A figure that each device has, or has not; ``group`` is the only one that it is of."""

    name: str
    unit: str
    better: Better
    read: Callable[[Device], float | None]
    group: str | None = None


@dataclass(frozen=True, slots=True)
class OfRun:
    """A figure that a run has once, or has not."""

    name: str
    unit: str
    better: Better
    read: Callable[[Results], float | None]


def of_devices(runs: Sequence[Results]) -> Iterator[OfDevice]:
    """Return what is compared of devices, by group too where all runs have the same several."""
    unit = runs[0].unit
    yield OfDevice("loss of the last release", unit, "lower", lambda device: device.last)
    names = [tuple(group.name for group in run.groups) for run in runs]
    if len(names[0]) > 1 and len(set(names)) == 1:
        for name in names[0]:
            yield OfDevice(
                f"loss of the last release in {name}", unit, "lower", lambda d: d.last, group=name
            )
    yield OfDevice("loss after learning alone", unit, "lower", lambda device: device.alone)
    yield OfDevice("gain over learning alone", unit, "higher", gain)
    yield OfDevice("loss of what was published", unit, "lower", lambda device: device.served)
    yield OfDevice("examples of a device", "", "", lambda device: device.examples)
    yield OfDevice("accepted updates of a device", "", "", lambda device: device.updates)
    yield OfDevice("bytes up of a device", "B", "lower", lambda device: device.bytes_up)
    yield OfDevice("bytes down to a device", "B", "lower", lambda device: device.bytes_down)
    yield OfDevice("share of time online", "share", "", lambda device: device.online)


def of_runs(runs: Sequence[Results]) -> Iterator[OfRun]:
    """Return what is compared of whole runs."""
    unit = runs[0].unit
    yield OfRun("loss of the last release on its judges", unit, "lower", _last_loss)
    yield OfRun("accuracy of the last release", "share", "higher", _last_accuracy)
    losses = [_last_loss(run) for run in runs]
    if all(loss is not None for loss in losses):
        target = max(loss for loss in losses if loss is not None)
        name = f"time until the loss was {target:.4g}"
        yield OfRun(name, "ms", "lower", lambda run: _reached(run, target))
    yield OfRun("rounds", "", "", lambda run: run.totals.rounds)
    yield OfRun("releases", "", "", lambda run: run.totals.releases)
    yield OfRun("refused candidates", "", "", lambda run: run.totals.refused_candidates)
    yield OfRun("staleness of accepted updates", "", "", _staleness)
    yield OfRun("trainings", "", "", lambda run: run.totals.device_rounds)
    yield OfRun("accepted updates of attackers", "", "lower", _accepted_attacks)
    yield OfRun("refused updates of others", "", "lower", lambda run: run.totals.false_refusals)
    yield OfRun("lost messages", "", "", lambda run: run.totals.lost_messages)
    yield OfRun("bytes up in all", "B", "lower", lambda run: run.totals.bytes_up)
    yield OfRun("bytes down in all", "B", "lower", lambda run: run.totals.bytes_down)


def _last_loss(run: Results) -> float | None:
    return run.curve[-1].loss if run.curve else None


def _last_accuracy(run: Results) -> float | None:
    return run.curve[-1].accuracy if run.curve else None


def _reached(run: Results, loss: float) -> float | None:
    return next((point.time_ms for point in run.curve if point.loss <= loss), None)


def _staleness(run: Results) -> float | None:
    accepted = sum(entry.accepted for entry in run.rounds)
    if not accepted:
        return None
    return sum(entry.accepted * entry.staleness_mean for entry in run.rounds) / accepted


def _accepted_attacks(run: Results) -> float | None:
    return sum(attack.accepted for attack in run.attacks) if run.attacks else None
