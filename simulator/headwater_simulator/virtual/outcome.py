"""How good a simulated fleet's releases are: on rows that no device learned from, all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater import __version__
from headwater.settings import encode_hook
from headwater_agent.answers import MIN_EXAMPLES, worth_learning
from headwater_agent.replay import Replay
from headwater_agent.scores import Score
from headwater_models.arrays import Arrays
from headwater_models.judging import losses, point
from headwater_models.session import initial_state
from headwater_simulator.device import VirtualDevice
from headwater_simulator.report import results as r
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.fleet import Fleet
from headwater_simulator.virtual.inference import FleetPredictor
from headwater_simulator.virtual.judged import Judged, gathered
from headwater_simulator.virtual.member import Member
from headwater_simulator.virtual.network import Traffic
from headwater_simulator.virtual.training import FleetTrainer, Job, Tally

T = TypeVar("T")

PACKAGES = ("numpy", "onnxruntime")
ROWS_AT_ONCE = 65_536
MOST_POINTS = 400
"""Releases that are kept to be judged; beyond it every other one is left out."""

ALONE = 20
"""Trainings that a device does at most to see what it comes to alone."""


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A release that is to be judged."""

    sequence: int
    time_ms: int
    round: int
    weights: Arrays


def simulated_score(member: Member) -> Score | None:
    """Return how well a simulated agent predicted; None where it has no stream."""
    device = member.device
    return device.pipeline.learner.score if isinstance(device, VirtualDevice) else None


class Outcome:
    """Judges the releases on the devices that a scenario lets judge, and sums the run up.

    Parameters
    ----------
    scenario, fleet, chronicle
        Of the run.
    predictor, trainer
        Of the fleet.
    scores
        How well a member's own predictions did so far; without it, by its simulated agent.
    """

    def __init__(
        self,
        scenario: Scenario,
        fleet: Fleet,
        chronicle: Chronicle,
        predictor: FleetPredictor,
        trainer: FleetTrainer,
        *,
        scores: Callable[[Member], Score | None] = simulated_score,
    ) -> None:
        self._scenario, self._fleet, self._chronicle = scenario, fleet, chronicle
        self._scores = scores
        self._predictor, self._trainer = predictor, trainer
        self._manifest = fleet.bundle.manifest
        members = fleet.members
        count = min(scenario.judges, len(members))
        places = np.linspace(0, len(members) - 1, count).round().astype(int)
        self.judges = [members[i] for i in dict.fromkeys(places.tolist())]
        self._kept: list[_Kept] = []
        self._counted: dict[Member, NDArray[np.float64]] = {}
        self._served: list[r.Served] = []
        self._weights: Arrays = fleet.bundle.weights

    def released(self, release: r.Release, weights: Arrays) -> None:
        """Keep a release, to be judged at the end on the same rows as all others."""
        self._kept.append(_Kept(release.sequence, release.time_ms, release.round, weights))
        if len(self._kept) > MOST_POINTS:
            self._kept = [self._kept[0], *self._kept[2::2]]
        self._weights = weights

    def passed(self, now: int) -> None:
        """Note how well the agents' own predictions did since the last time."""
        sums: dict[str, NDArray[np.float64]] = {}
        for member in self._fleet.sensors:
            before = self._counted.get(member, np.zeros(5))
            after = _sums(self._scores(member))
            sums.setdefault(member.group.name, np.zeros(5))
            sums[member.group.name] += after - before
            self._counted[member] = after
        for name, new in sums.items():
            if new[0] > 0:
                baseline, released, personal, served = (new[1:] / new[0]).tolist()
                self._served.append(
                    r.Served(
                        time_ms=now,
                        group=name,
                        labels=round(new[0]),
                        baseline=baseline,
                        released=released,
                        personal=personal,
                        served=served,
                    )
                )

    def restarted(self, member: Member) -> None:
        """Count on from what an agent knows of its score after it started again."""
        self._counted[member] = _sums(self._scores(member))

    def _points(self, rows: Judged) -> list[r.Point]:
        """Judge all releases on the same rows; those that predict no number are left out."""
        points = (self._point(rows, kept) for kept in self._kept if rows.cuts)
        return [point for point in points if point is not None]

    def _point(self, rows: Judged, kept: _Kept) -> r.Point | None:
        found, right = self._losses(rows, kept.weights)
        if not np.isfinite(found).all():
            return None
        groups: dict[str, list[NDArray[np.float64]]] = {}
        for member in self.judges:
            if member.name in rows.cuts:
                groups.setdefault(member.group.name, []).append(found[rows.cuts[member.name]])
        return r.Point(
            sequence=kept.sequence,
            time_ms=kept.time_ms,
            round=kept.round,
            loss=float(found.mean()),
            baseline=float(rows.baseline.mean()),
            accuracy=None if right is None else float(right.mean()),
            spread=spread([float(found[cut].mean()) for cut in rows.cuts.values()]),
            groups={name: float(np.concatenate(some).mean()) for name, some in groups.items()},
        )

    def results(
        self, name: str, end: int, *, traffic: Traffic, tally: Tally, engine: r.Engine = "virtual"
    ) -> r.Results:
        """Sum up the run of this name, which ended at a moment."""
        chronicle, scenario = self._chronicle, self._scenario
        rows = gathered(self._fleet, self.judges)
        devices = self._devices(rows, end)
        logs = chronicle.devices.values()
        refused = sum(log.refused for log in logs)
        totals = r.Totals(
            rounds=len(chronicle.rounds),
            releases=len(chronicle.releases) - 1,
            refused_candidates=chronicle.refused_candidates,
            device_rounds=sum(log.trained for log in logs),
            late=sum(log.late for log in logs),
            records=sum(sensors.records for sensors in self._fleet.sensors.values()),
            updates_accepted=sum(log.updates for log in logs),
            updates_refused=refused,
            false_refusals=sum(log.refused for log in logs if not log.attack),
            declined=sum(log.declined for log in logs),
            messages=traffic.messages,
            lost_messages=traffic.lost,
            repeated_messages=traffic.repeated,
            bytes_up=traffic.up,
            bytes_down=traffic.down,
            stacked=tally.stacked,
            looped=tally.looped,
        )
        versions = {"headwater": __version__} | {name: installed(name) for name in PACKAGES}
        target = self._manifest.target
        units = [channel.unit for channel in self._manifest.channels if channel.name == target]
        return r.Results(
            name=name,
            about=scenario.about,
            engine=engine,
            seed=scenario.seed,
            devices=len(self._fleet.members),
            length_ms=end,
            unit=units[0] if units else "",
            versions=versions,
            scenario=msgspec.json.encode(scenario, enc_hook=encode_hook).decode(),
            totals=totals,
            curve=tuple(self._points(rows)),
            served=tuple(self._served),
            rounds=chronicle.rounds,
            releases=tuple(chronicle.releases),
            groups=tuple(self._group(group.name, devices) for group in scenario.groups),
            listed=tuple(self._listed(devices)),
            attacks=tuple(self._attacks()),
            refusals=tuple(chronicle.refusals),
            presence=tuple(_sample(chronicle.presence, r.MOST_DEVICES)),
            incidents=tuple(chronicle.incidents),
        )

    # What judges find

    def _losses(
        self, rows: Judged, weights: Arrays
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Return the loss of each row, and whether its class is right, where there are any."""
        made = [
            self._predictor.alone.run(
                rows.window[i : i + ROWS_AT_ONCE], rows.time[i : i + ROWS_AT_ONCE], weights
            )
            for i in range(0, len(rows.time), ROWS_AT_ONCE)
        ]
        predictions = np.concatenate(made)
        found = losses(self._manifest, predictions, rows.label)
        if self._manifest.task != "classification":
            return found, None
        return found, point(self._manifest, predictions) == rows.label[:, 0]

    # The devices at the end

    def _devices(self, rows: Judged, end: int) -> list[r.Device]:
        first, last, alone = ({}, {}, {}) if not rows.cuts else self._compared(rows)
        made = []
        for member in self._fleet.members:
            log, device = self._chronicle.devices[member.name], member.device
            score = self._scores(member)
            made.append(
                r.Device(
                    name=member.name,
                    group=member.group.name,
                    examples=device.examples,
                    updates=log.updates,
                    refused=log.refused,
                    declined=log.declined,
                    lost=log.lost,
                    first=first.get(member.name),
                    last=last.get(member.name),
                    alone=alone.get(member.name),
                    served=score.served if score is not None and score.labels else None,
                    bytes_up=log.up,
                    bytes_down=log.down,
                    online=log.online_ms / max(end, 1),
                    attacks=bool(log.attack),
                )
            )
        return made

    def _compared(self, rows: Judged) -> tuple[dict[str, float], ...]:
        """Return each judge's loss of the first release, of the last, and of learning alone."""
        begin = self._fleet.bundle.weights
        before, _ = self._losses(rows, begin)
        after, _ = self._losses(rows, self._weights)
        judges = [member for member in self.judges if member.name in rows.cuts]
        examples = [worth_learning(self._manifest, member.device.learned) for member in judges]
        most = max((self._chronicle.devices[member.name].trained for member in judges), default=0)
        how = self._scenario.federation
        optimiser = self._manifest.optimiser
        jobs = [
            Job(
                Replay(
                    start=begin,
                    state=initial_state(self._manifest),
                    examples=some,
                    epochs=how.epochs * max(1, min(most, ALONE)),
                    batch=how.batch or optimiser.batch,
                    learning_rate=how.learning_rate or optimiser.learning_rate,
                    seed=member.number,
                )
            )
            for member, some in zip(judges, examples, strict=True)
        ]
        alone: dict[str, float] = {}
        for member, some, made in zip(judges, examples, self._trainer.replay(jobs), strict=True):
            if len(some.weight) < MIN_EXAMPLES:
                continue
            cut = rows.cuts[member.name]
            predicted = self._predictor.alone.run(rows.window[cut], rows.time[cut], made.weights)
            loss = float(losses(self._manifest, predicted, rows.label[cut]).mean())
            if np.isfinite(loss):
                alone[member.name] = loss
        return _finite_means(before, rows), _finite_means(after, rows), alone

    def _listed(self, devices: Sequence[r.Device]) -> list[r.Device]:
        """Return the judges and an even sample of the others, in their order."""
        if len(devices) <= r.MOST_DEVICES:
            return list(devices)
        judges = _sample([member.number for member in self.judges], r.MOST_DEVICES)
        others = [number for number in range(len(devices)) if number not in set(judges)]
        chosen = [*judges, *_sample(others, r.MOST_DEVICES - len(judges))]
        return [devices[number] for number in sorted(chosen)]

    def _group(self, name: str, devices: Sequence[r.Device]) -> r.Group:
        own = [device for device in devices if device.group == name]
        pairs = [
            (device.last, device.alone)
            for device in own
            if device.last is not None and device.alone is not None
        ]
        stands = Counter(r.standing(last, alone) for last, alone in pairs)
        return r.Group(
            name=name,
            devices=len(own),
            first=_spread_of(own, "first"),
            last=_spread_of(own, "last"),
            alone=_spread_of(own, "alone"),
            gained=stands["gained"],
            lost=stands["lost"],
            even=stands["even"],
            updates=sum(device.updates for device in own),
            bytes_up=sum(device.bytes_up for device in own),
            bytes_down=sum(device.bytes_down for device in own),
        )

    def _attacks(self) -> list[r.Attack]:
        kinds: dict[str, list[str]] = {}
        for name, log in self._chronicle.devices.items():
            if log.attack:
                kinds.setdefault(log.attack, []).append(name)
        logs = self._chronicle.devices
        return [
            r.Attack(
                kind=kind,
                devices=len(names),
                sent=sum(logs[name].forged for name in names),
                refused=sum(logs[name].refused for name in names),
                accepted=sum(logs[name].updates for name in names),
            )
            for kind, names in kinds.items()
        ]


def _finite_means(losses: NDArray[np.float64], rows: Judged) -> dict[str, float]:
    """Return the mean loss of each judge that has a finite one."""
    means = {name: float(losses[cut].mean()) for name, cut in rows.cuts.items()}
    return {name: mean for name, mean in means.items() if np.isfinite(mean)}


def _sums(score: Score | None) -> NDArray[np.float64]:
    """Return how many labels a device has had, and the sums of its losses over them."""
    if score is None:
        return np.zeros(5)
    losses = [score.baseline, score.released, score.personal, score.served]
    return score.labels * np.array([1.0, *losses])


def spread(values: Sequence[float]) -> r.Spread:
    """Return how values are spread; there is at least one.

    Examples
    --------
    >>> spread([1.0, 2.0, 3.0]).median
    2.0
    """
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9]).tolist()
    return r.Spread(
        devices=len(values), mean=float(np.mean(values)), p10=low, median=middle, p90=high
    )


def _spread_of(devices: Sequence[r.Device], name: str) -> r.Spread | None:
    values = [value for device in devices if (value := getattr(device, name)) is not None]
    return spread(values) if values else None


def _sample(things: Sequence[T], most: int) -> list[T]:
    """Return an even sample of things in their order."""
    if len(things) <= most:
        return list(things)
    places = np.linspace(0, len(things) - 1, most).round().astype(int)
    return [things[i] for i in dict.fromkeys(places.tolist())]
