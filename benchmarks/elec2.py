"""The Elec2 case: will the price of electricity be above its mean of a day, half-hour by half-hour.

Prequential, in the order of the stream: predict, then see the label, then learn from it. The model
reads the row and two labels known by then, the last one and the one of this half-hour a day
earlier; river's adaptive random forest is given the same inputs (0.5 for a label not known yet).
The two take turns, a thousand events each, in one thread; an event costs the processor's time that
it takes to predict, to learn, and to bring the row into the form that each side reads.

The settings were chosen by accuracy on the first quarter of the stream (``--validate`` ends there)
and frozen before the rest was looked at; accuracy after that quarter is reported beside the whole.
The scales of the measured inputs are those of the first three weeks.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Figure, Report, report, spread
from headwater.settings import Duration
from headwater_agent.events import Batch
from headwater_models.graphs.builders import Built, ModelSpec, build
from headwater_models.graphs.scaling import scaling_from_rows
from headwater_models.manifest import Channel, Grid, Optimiser, Reserve
from headwater_models.session import Predictor, Trainer, initial_state

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Right = NDArray[np.bool_]

HALF_HOUR = Duration(1_800_000)
DAY = 48
FITTED = 3 * 7 * DAY
"""Rows whose spread gives the scales."""

LAGS = (1, DAY)
CALENDAR = ("date", "day", "period")
MEASURED = ("nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")
CLASSES = ("DOWN", "UP")

HIDDEN = (64,)
LEARNING_RATE = 0.05
OPTIMISER = Optimiser(name="sgd", learning_rate=LEARNING_RATE, batch=1)

CHOSEN = 11_328
"""Rows on which the settings were chosen: the first quarter."""

QUICK = 2_000

TURN = 1_000
TREES = 10
FOREST_SEED = 42
PACKAGES = ("headwater", "onnxruntime", "numpy", "river")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """Inputs float32 ``[R, C]`` and labels ``[R]`` (1: UP), in the order of time."""

    inputs: Floats
    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What was predicted ``[R]``, and the seconds that all events took together."""

    predicted: Labels
    seconds: float


def read_stream(folder: Path) -> Stream:
    """Read ``elec2.csv.gz`` and set the labels known by then beside each row (NaN: none yet)."""
    with gzip.open(folder / "elec2.csv.gz", "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    labels = np.array([int(row["class"]) for row in rows])
    columns = [[float(row[name]) for row in rows] for name in (*CALENDAR, *MEASURED)]
    known = [lagged(labels, lag) for lag in LAGS]
    return Stream(inputs=np.stack([*columns, *known], axis=1).astype(np.float32), labels=labels)


def lagged(labels: Labels, lag: int) -> NDArray[np.float64]:
    """Return ``[R]``: the label *lag* rows earlier, NaN before the first."""
    early = np.full(min(lag, len(labels)), np.nan)
    return np.concatenate([early, labels[: len(labels) - len(early)]])


def cut(stream: Stream, rows: int) -> Stream:
    """Return the first rows."""
    return Stream(inputs=stream.inputs[:rows], labels=stream.labels[:rows])


def run(stream: Stream, seed: int) -> Run:
    """Go through the stream once; the seed decides the first weights."""
    return race(stream, model(stream, seed))[0]


def race(stream: Stream, *sides: Iterator[int]) -> list[Run]:
    """Let every side go through the stream, taking turns."""
    predicted: list[list[int]] = [[] for _ in sides]
    seconds = [0.0] * len(sides)
    for _ in range(0, len(stream.labels), TURN):
        for number, side in enumerate(sides):
            begin = thread_time()
            predicted[number].extend(islice(side, TURN))
            seconds[number] += thread_time() - begin
    return [
        Run(predicted=np.array(said), seconds=taken)
        for said, taken in zip(predicted, seconds, strict=True)
    ]


def model(stream: Stream, seed: int) -> Iterator[int]:
    """Predict with an MLP that takes a step of gradient descent after each event."""
    built = build(specification(stream), np.random.default_rng(seed))
    return _model(stream, built, Predictor(built.infer), Trainer(built.train))


def forest(stream: Stream) -> Iterator[int]:
    """Predict with river's adaptive random forest as it comes, with ten trees."""
    from river.forest import ARFClassifier  # noqa: PLC0415 - costs 90 MB and a second

    return _forest(stream, ARFClassifier(n_models=TREES, seed=FOREST_SEED))


def _model(stream: Stream, built: Built, predictor: Predictor, trainer: Trainer) -> Iterator[int]:
    weights, state = built.weights, initial_state(built.manifest)
    time, weight = np.zeros(1, np.int64), np.ones(1, np.float32)
    for row, label in zip(stream.inputs, stream.labels, strict=True):
        window = row[np.newaxis, np.newaxis]
        yield int(predictor.run(window, time, weights)[0].argmax())
        truth = np.array([[label]], np.float32)
        batch = Batch(window=window, time=time, label=truth, weight=weight)
        weights, state, _ = trainer.step(batch, weights, state, LEARNING_RATE)


def _forest(stream: Stream, trees: Any) -> Iterator[int]:
    names = [channel.name for channel in channels()]
    inputs = np.nan_to_num(stream.inputs, nan=0.5)
    for row, label in zip(inputs, stream.labels, strict=True):
        event = dict(zip(names, row.tolist(), strict=True))
        yield trees.predict_one(event) or 0
        trees.learn_one(event, int(label))


def channels() -> tuple[Channel, ...]:
    """Return what the model reads; the file holds everything scaled to 0..1, but for the day."""
    known = tuple(f"class.{lag}" for lag in LAGS)
    return tuple(
        Channel(name=name, minimum=0, maximum=7 if name == "day" else 1)
        for name in (*CALENDAR, *MEASURED, *known)
    )


def specification(stream: Stream) -> ModelSpec:
    """Return the model: measured channels in the scale of the first weeks, others by range."""
    rows = stream.inputs[:FITTED].copy()
    rows[:, [channel.name not in MEASURED for channel in channels()]] = np.nan
    return ModelSpec(
        kind="mlp",
        name="elec2",
        task="classification",
        classes=CLASSES,
        channels=channels(),
        grid=Grid(period=HALF_HOUR, max_gap=HALF_HOUR),
        window=1,
        reserve=Reserve(share=0, block=Duration(DAY * HALF_HOUR)),
        loss="cross_entropy",
        optimiser=OPTIMISER,
        hidden=HIDDEN,
        activation="tanh",
        scaling=scaling_from_rows(rows, channels(), None),
    )


def summary(stream: Stream, runs: Sequence[Run], raced: Sequence[Run]) -> Report:
    """Put the figures together.

    Parameters
    ----------
    runs
        The model's, one for each seed.
    raced
        The model's and the forest's, side by side.
    """
    labels, last = stream.labels, repeated(stream.labels)
    ours, theirs = raced
    right = [run.predicted == labels for run in runs]
    forest_right = theirs.predicted == labels
    begin, end = slice(0, CHOSEN), slice(CHOSEN, None)
    figures: dict[str, float | Figure] = {
        **spread("accuracy", [float(r.mean()) for r in right]),
        "accuracy_arf": float(forest_right.mean()),
        "accuracy_last_label": float(last.mean()),
        "accuracy_price_rule": float((above_mean_of_a_day(stream) == labels).mean()),
        **spread("accuracy_where_chosen", [float(r[begin].mean()) for r in right]),
        **spread("cohen_kappa", [cohen_kappa(run.predicted, labels) for run in runs]),
        "cohen_kappa_arf": cohen_kappa(theirs.predicted, labels),
        **spread("temporal_kappa", [temporal_kappa(r, last) for r in right]),
        "temporal_kappa_arf": temporal_kappa(forest_right, last),
        "speed_vs_arf": theirs.seconds / ours.seconds,
        "time_per_event": _time_per_event(ours, theirs),
        "events": float(len(labels)),
        "seeds": float(len(runs)),
    }
    if len(labels) > CHOSEN:
        figures |= spread("accuracy_after_it", [float(r[end].mean()) for r in right])
        figures["accuracy_after_it_arf"] = float(forest_right[end].mean())
    return report("accuracy elec2", PACKAGES, figures)


def repeated(labels: Labels) -> Right:
    """Say where the label is the last one again; the first event has none to repeat."""
    return np.concatenate([[False], labels[1:] == labels[:-1]])


def above_mean_of_a_day(stream: Stream) -> Labels:
    """Return ``[R]``: 1 where the price is above its mean over the 48 rows before.

    That is how the labels were made, so a model that reads a day of prices has nothing to learn.
    """
    price = stream.inputs[:, len(CALENDAR)].astype(np.float64)
    total = np.concatenate([[0.0], np.cumsum(price)])
    rows = np.arange(len(price))
    first = np.maximum(rows - DAY, 0)
    above: Right = price > (total[rows] - total[first]) / np.maximum(rows - first, 1)
    return above.astype(np.int64)


def cohen_kappa(predicted: Labels, labels: Labels) -> float:
    """Return how far accuracy is from chance to perfect (Cohen 1960), for labels 0 and 1."""
    agreed = float((predicted == labels).mean())
    said, true = float(predicted.mean()), float(labels.mean())
    chance = said * true + (1 - said) * (1 - true)
    return (agreed - chance) / (1 - chance)


def temporal_kappa(right: Right, last: Right) -> float:
    """Return how far accuracy is from repeating labels to perfect (Zliobaite et al. 2015)."""
    repeating = float(last.mean())
    return (float(right.mean()) - repeating) / (1 - repeating)


def _time_per_event(ours: Run, theirs: Run) -> Figure:
    mine, other = (1e6 * run.seconds / len(run.predicted) for run in (ours, theirs))
    return Figure(
        ours=mine, peers={"river_arf": other}, ratio=other / mine, unit="us", better="lower"
    )
