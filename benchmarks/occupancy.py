"""The occupancy case: whether someone is in the office, from its air, while the office changes.

The data [1]_ are minutes of one office in three periods, with the light left out, which would
decide almost alone. The model is trained on the first period. Then a device streams the other two:
each minute is predicted before its label is known, by the model as it was trained (frozen) and by
the personal model, which goes on learning (online). Labels come right after the prediction, or an
hour after it; what persistence repeats is the last label known by then. The guard is on, as on any
device; the few minutes for which it leaves too little to predict from are left out of all figures
alike, and counted.

The settings were chosen with ``--validate``, which trains on the first period's days until
2015-02-06 and scores those after it.

.. [1] Candanedo and Feldheim, Accurate occupancy detection of an office room from light,
   temperature, humidity and CO2 measurements using statistical learning models, Energy and
   Buildings 112, 2016.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Figure, Report, report, spread
from headwater.settings import Duration
from headwater_agent.events import Batch, Label, Prediction, Record
from headwater_agent.pipeline_settings import LabelRules, LearnerSettings, PipelineSettings
from headwater_agent.replay import Replay
from headwater_coordinator.home import Home
from headwater_coordinator.initialise import Wishes, initialise
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.scaling import scaling_from_rows
from headwater_models.manifest import Channel, Grid, Optimiser, Reserve
from headwater_models.session import Trainer, initial_state
from headwater_simulator.device import VirtualDevice

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]

MINUTE = Duration(60_000)
HOUR = Duration(60 * MINUTE)
WINDOW = 30

COLUMNS = ("Temperature", "Humidity", "CO2", "HumidityRatio")
CHANNELS = (
    Channel(name="temperature", minimum=-20, maximum=60, unit="degC"),
    Channel(name="humidity", minimum=0, maximum=100, unit="%"),
    Channel(name="co2", minimum=0, maximum=10_000, unit="ppm"),
    Channel(name="humidity_ratio", minimum=0, maximum=0.1, unit="kg/kg"),
)
TRAINED, *SCORED = ("datatraining", "datatest", "datatest2")

EPOCHS = 30
OPTIMISER = Optimiser(name="adam", learning_rate=1e-3, batch=64, weight_decay=1e-3)
LEARN = LearnerSettings(batch=16, learning_rate=1e-3)
BUFFER = 1_000

Delay = Literal["at_once", "after_an_hour"]
DELAYS: dict[Delay, int] = {"at_once": 0, "after_an_hour": 60}
"""Minutes that pass between a prediction and its label."""


@dataclass(frozen=True, slots=True, eq=False)
class Period:
    """Minutes of the office.

    ``times`` ``[R]``, UTC milliseconds; ``values`` ``[R, 4]``; ``labels`` ``[R]``, 1: occupied.
    """

    name: str
    times: NDArray[np.int64]
    values: Floats
    labels: Labels

    def part(self, rows: slice) -> Period:
        """Return some of the rows."""
        return Period(self.name, self.times[rows], self.values[rows], self.labels[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is trained on, and the periods that are scored."""

    train: Period
    score: tuple[Period, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Of a period's ``rows``, how many each model named right, by when labels came.

    ``unpredicted`` is how many more there were, for which the device predicted nothing.
    """

    rows: int
    unpredicted: int
    majority: int
    frozen: int
    online: dict[Delay, int]
    served: dict[Delay, int]
    persistence: dict[Delay, int]


def read_periods(folder: Path) -> dict[str, Period]:
    """Read the three periods; the times of the room are taken for UTC."""
    return {name: _read(folder / f"{name}.csv.gz", name) for name in (TRAINED, *SCORED)}


def test_case(periods: dict[str, Period]) -> Case:
    """Train on the first period and score the others."""
    return Case(train=periods[TRAINED], score=tuple(periods[name] for name in SCORED))


def validation_case(periods: dict[str, Period]) -> Case:
    """Split the first period where its first weekend begins."""
    whole = periods[TRAINED]
    weekend = int(datetime(2015, 2, 7, tzinfo=UTC).timestamp()) * 1000
    cut = int(np.searchsorted(whole.times, weekend))
    return Case(train=whole.part(slice(cut)), score=(whole.part(slice(cut, None)),))


def shorten(case: Case) -> Case:
    """Return what is left of a case for a quick run."""
    return Case(
        train=case.train.part(slice(1_500)),
        score=tuple(period.part(slice(300)) for period in case.score),
    )


def run(case: Case, seed: int) -> list[Right]:
    """Train, freeze and stream; the seed decides first weights and orders."""
    with tempfile.TemporaryDirectory() as folder:
        _train(case.train, np.random.default_rng(seed)).save(Path(folder) / "model")
        wishes = Wishes(bundle=Path(folder) / "model")
        signed = initialise(Home(Path(folder) / "coordinator"), wishes, 0)
    made = {delay: _stream(signed, case.score, late) for delay, late in DELAYS.items()}
    majority = int(np.bincount(case.train.labels).argmax())
    return [
        _right(period, majority, {delay: periods[i] for delay, periods in made.items()})
        for i, period in enumerate(case.score)
    ]


def summary(outcomes: Sequence[Sequence[Right]]) -> Report:
    """Put the figures together, over all rows and by period: means over seeds with their spread."""
    figures: dict[str, float | Figure] = {}
    for name, seeds in _views(outcomes).items():
        figures |= spread(f"accuracy_frozen{name}", [one.frozen / one.rows for one in seeds])
        for delay in DELAYS:
            for model in ("online", "served"):
                shares = [getattr(one, model)[delay] / one.rows for one in seeds]
                figures |= spread(f"accuracy_{model}_{delay}{name}", shares)
            repeated = seeds[0].persistence[delay] / seeds[0].rows
            figures[f"accuracy_persistence_{delay}{name}"] = repeated
        figures[f"accuracy_majority{name}"] = seeds[0].majority / seeds[0].rows
        figures[f"rows{name}"] = float(seeds[0].rows)
        figures[f"unpredicted{name}"] = float(seeds[0].unpredicted)
    figures["seeds"] = float(len(outcomes))
    return report("accuracy occupancy", ("headwater", "onnxruntime", "numpy"), figures)


def repeat_last(labels: Labels, delay: int) -> Labels:
    """Return for each row the last label that is known when it is predicted.

    That of the row before it, or of one *delay* rows earlier; at first the office is empty.
    """
    return np.concatenate([np.zeros(delay + 1, np.intp), labels])[: len(labels)]


def _read(path: Path, name: str) -> Period:
    """Read a period. A reading of second 59 belongs to the minute that begins."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    moments = [datetime.fromisoformat(row["date"]).replace(tzinfo=UTC) for row in rows]
    seconds = np.array([int(moment.timestamp()) for moment in moments], np.int64)
    return Period(
        name=name,
        times=(seconds + 1) // 60 * int(MINUTE),
        values=np.array([[float(row[column]) for column in COLUMNS] for row in rows], np.float32),
        labels=np.array([int(row["Occupancy"]) for row in rows]),
    )


def _train(period: Period, rng: np.random.Generator) -> Bundle:
    """Train the model that is frozen."""
    built = build(
        ModelSpec(
            kind="mlp",
            name="occupancy",
            task="classification",
            channels=CHANNELS,
            grid=Grid(period=MINUTE, max_gap=Duration(10 * MINUTE)),
            window=WINDOW,
            inputs=("window", "time"),
            classes=("empty", "occupied"),
            loss="cross_entropy",
            optimiser=OPTIMISER,
            reserve=Reserve(share=0.0, block=HOUR),
            hidden=(32,),
            scaling=scaling_from_rows(period.values, CHANNELS, None, ["co2"]),
        ),
        rng,
    )
    windows = np.lib.stride_tricks.sliding_window_view(period.values, WINDOW, axis=0)
    labels = period.labels[WINDOW - 1 :].astype(np.float32)
    made = Replay(
        start=built.weights,
        state=initial_state(built.manifest),
        examples=Batch(
            window=np.ascontiguousarray(windows.transpose(0, 2, 1)),
            time=period.times[WINDOW - 1 :],
            label=labels[:, None],
            weight=np.ones(len(labels), np.float32),
        ),
        epochs=EPOCHS,
        batch=OPTIMISER.batch,
        learning_rate=OPTIMISER.learning_rate,
        seed=rng,
    ).run(Trainer(built.train))
    return Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=made.weights
    )


def _stream(signed: Bundle, periods: Sequence[Period], delay: int) -> list[list[Prediction]]:
    """Stream the periods one after the other through one device, labels *delay* minutes late."""
    rules = LabelRules(outside=True, late=(delay + 1) * int(MINUTE))
    device = VirtualDevice("office", signed, PipelineSettings(learn=LEARN, labels=rules), BUFFER)
    return [_through(device, period, delay) for period in periods]


def _through(device: VirtualDevice, period: Period, delay: int) -> list[Prediction]:
    """Return what the device predicted for a period, a minute at a time."""
    made: list[Prediction] = []
    spoken = np.ones(len(CHANNELS), np.bool_)
    for i, time in enumerate(period.times.tolist()):
        record = Record(period.name, time, period.values[i], spoken)
        labels = [_label(period, i - delay)] if i >= delay else []
        made += device.arrived([record], labels)
    device.arrived([], [_label(period, i) for i in range(-delay, 0)])
    return made


def _label(period: Period, row: int) -> Label:
    return Label(value=float(period.labels[row]), stream=period.name, time=int(period.times[row]))


def _right(period: Period, majority: int, made: dict[Delay, list[Prediction]]) -> Right:
    """Hold predictions against labels; the rows before the first whole window have none."""
    rows = np.searchsorted(period.times, [p.time for p in made["at_once"]])
    labels = period.labels[rows]
    assert all([p.time for p in each] == period.times[rows].tolist() for each in made.values())

    def right(said: Iterable[Floats]) -> int:
        return int((np.stack(list(said)).argmax(axis=1) == labels).sum())

    return Right(
        rows=len(rows),
        unpredicted=len(period.labels) - (WINDOW - 1) - len(rows),
        majority=int((labels == majority).sum()),
        frozen=right(p.released for p in made["at_once"]),
        online={delay: right(p.personal for p in each) for delay, each in made.items()},
        served={delay: right(getattr(p, p.served) for p in each) for delay, each in made.items()},
        persistence={
            delay: int((repeat_last(period.labels, late)[rows] == labels).sum())
            for delay, late in DELAYS.items()
        },
    )


def _views(outcomes: Sequence[Sequence[Right]]) -> dict[str, list[Right]]:
    """Return the seeds' outcomes over all rows, and of each period where there are several."""
    views = {"": [_together(periods) for periods in outcomes]}
    by_period = [list(seeds) for seeds in zip(*outcomes, strict=True)]
    if len(by_period) > 1:
        views |= {f"_{name}": seeds for name, seeds in zip(SCORED, by_period, strict=True)}
    return views


def _together(periods: Sequence[Right]) -> Right:
    def total(name: str) -> int:
        return sum(int(getattr(period, name)) for period in periods)

    def each(name: str) -> dict[Delay, int]:
        return {delay: sum(getattr(period, name)[delay] for period in periods) for delay in DELAYS}

    return Right(
        rows=total("rows"),
        unpredicted=total("unpredicted"),
        majority=total("majority"),
        frozen=total("frozen"),
        online=each("online"),
        served=each("served"),
        persistence=each("persistence"),
    )
