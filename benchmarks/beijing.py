"""The Beijing case: eight stations, hourly PM2.5 six hours ahead, learned as a federation.

Every record before the cut is streamed once through the agents' cores, in order, while the
coordinator's core holds a round every four weeks of the stream's own time. At the cut the
federation ends: the last release is frozen, and the year after it is predicted with it. The
personal models go on, each testing on a label before it trains on it.

The settings, here and in :mod:`headwater_simulator.air`, were chosen on the year from 2015-03-01
with what is before it (``--validate`` repeats that measurement), and frozen before the year from
2016-03-01 was looked at. Each row of that year counts whose label was measured. Left out of all
figures alike are rows for which an agent predicts nothing, as more than half of the window is
missing, and rows whose window holds no PM2.5 at all, so that persistence has nothing to repeat
(the grid holds a value for at most six hours).

The guard is off: what it doubts it also keeps back as a label, so it would choose what is scored,
and take away just the hours in which PM2.5 moves most.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from benchmarks.report import FEDERATED, Figure, Report, report, spread
from headwater.settings import Duration
from headwater_agent.events import Record
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.pipeline_settings import LearnerSettings, PipelineSettings
from headwater_agent.scores import Score
from headwater_coordinator.home import Home
from headwater_coordinator.initialise import Wishes, initialise
from headwater_coordinator.settings import Gate, Rounds, Settings
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import build
from headwater_simulator.air import HOUR, WEEK, specification
from headwater_simulator.device import VirtualDevice
from headwater_simulator.fleet import VirtualFleet
from headwater_simulator.streams import CHANNELS, Station

WAKE_UP = 6
"""Hours of records that a device takes as one batch."""

LEARN = PipelineSettings(
    learn=LearnerSettings(batch=16, learning_rate=2e-4), guard=GuardSettings(enabled=False)
)
BUFFER = 100_000
ROUNDS = Rounds(
    min_devices=2,
    pause=Duration(4 * WEEK),
    check_in=Duration(4 * WEEK),
    deadline=HOUR,
    epochs=1,
    batch=64,
    learning_rate=2e-3,
    weight_cap=1_000_000,
    message_ttl=HOUR,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Where the federation ends and until when its last release is judged, UTC milliseconds."""

    cut: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one seed: rows predicted, mean absolute errors in ug/m3, rounds held and releases."""

    rows: int
    persistence: float
    released: float
    personal: float
    rounds: int
    releases: int


def _midnight(year: int, month: int) -> int:
    """Return the first midnight of a month in Beijing."""
    return int(datetime(year, month, 1, tzinfo=timezone(timedelta(hours=8))).timestamp()) * 1000


VALIDATION = Case(cut=_midnight(2015, 3), end=_midnight(2016, 3))
TEST = Case(cut=_midnight(2016, 3), end=_midnight(2017, 3))
QUICK = Case(cut=_midnight(2013, 6), end=_midnight(2013, 7))
QUICK_STATIONS = 3
QUICK_HOURS = 24 * 7 * 16


def shorten(stations: Sequence[Station]) -> tuple[Station, ...]:
    """Return the first weeks of some stations."""
    return tuple(
        Station(s.name, s.times[:QUICK_HOURS], s.values[:QUICK_HOURS])
        for s in stations[:QUICK_STATIONS]
    )


def run(stations: Sequence[Station], case: Case, seed: int) -> Outcome:
    """Stream, federate, freeze and predict; the seed decides first weights and orders."""
    rng = np.random.default_rng(seed)
    built = build(specification(stations), rng)
    bundle = Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )
    with tempfile.TemporaryDirectory() as folder:
        bundle.save(Path(folder) / "model")
        home = Home(Path(folder) / "coordinator")
        signed = initialise(home, Wishes(bundle=Path(folder) / "model"), 0)
        devices = [VirtualDevice(s.name.lower(), signed, LEARN, BUFFER) for s in stations]
        settings = Settings(federation=ROUNDS, gate=Gate(deadline=HOUR))
        with VirtualFleet(home, settings, devices, rng) as fleet:
            for now in _stream(stations, devices, 0, case.cut):
                fleet.settle(now)
            status = fleet.status()
    for device in devices:
        device.pipeline.learner.score = Score()
    for _ in _stream(stations, devices, case.cut, case.end):
        pass
    return _outcome(devices, status.rounds, status.releases)


def summary(outcomes: Sequence[Outcome]) -> Report:
    """Put the figures together: means over seeds with their spread, and persistence as peer."""
    persistence = outcomes[0].persistence
    released = [outcome.released for outcome in outcomes]
    personal = [outcome.personal for outcome in outcomes]
    figures: dict[str, float | Figure] = {
        **spread("mae_released", released),
        "mae_persistence": persistence,
        **spread("mae_vs_persistence", [mae / persistence for mae in released]),
        **spread("mae_personal", personal),
        **spread("mae_personal_vs_persistence", [mae / persistence for mae in personal]),
        "rows": float(outcomes[0].rows),
        **spread("releases", [float(outcome.releases) for outcome in outcomes]),
        "seeds": float(len(outcomes)),
    }
    return report("accuracy beijing", FEDERATED, figures)


def _stream(
    stations: Sequence[Station], devices: Sequence[VirtualDevice], begin: int, end: int
) -> Iterator[int]:
    """Feed the records from *begin* to before *end*; yield the time after each wake-up."""
    first, last = np.searchsorted(stations[0].times, (begin, end))
    for start in range(int(first), int(last), WAKE_UP):
        stop = min(start + WAKE_UP, int(last))
        for station, device in zip(stations, devices, strict=True):
            device.arrived(_records(station, start, stop))
        yield int(stations[0].times[stop - 1]) + HOUR


def _records(station: Station, start: int, stop: int) -> list[Record]:
    spoken = np.ones(len(CHANNELS), np.bool_)
    return [
        Record(station.name.lower(), int(station.times[i]), station.values[i], spoken)
        for i in range(start, stop)
    ]


def _outcome(devices: Sequence[VirtualDevice], rounds: int, releases: int) -> Outcome:
    """Pool the devices' scores, each row counting once."""
    scores = [device.pipeline.learner.score for device in devices]
    rows = sum(score.labels for score in scores)

    def mean(name: str) -> float:
        return sum(score.labels * float(getattr(score, name)) for score in scores) / rows

    return Outcome(
        rows=rows,
        persistence=mean("baseline"),
        released=mean("released"),
        personal=mean("personal"),
        rounds=rounds,
        releases=releases,
    )
