"""A fifth of a stream's records is garbage, and what is published for the clean ones stays good.

Hourly records of a real station, each poisoned one replaced by something that a broken device might
say: values far out of range, anywhere in the ranges, in the wrong channels, all zero, or those of
another station at another hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.compute import Compute
from headwater_agent.events import (
    Arrived,
    Batch,
    Effect,
    Event,
    Example,
    Infer,
    Publish,
    Record,
    Store,
    Train,
)
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.pipeline import Pipeline, carry_out
from headwater_agent.pipeline_settings import LearnerSettings, PipelineSettings
from headwater_agent.releases import first_version
from headwater_agent.replay import Replay
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import build
from headwater_models.session import Trainer, initial_state
from headwater_simulator.air import specification
from headwater_simulator.streams import CHANNELS, HOUR_MS, Station, shipped

STATIONS = shipped()
SPOKEN = np.ones(len(CHANNELS), np.bool_)
GUARD = GuardSettings()
LEARNED, HOURS = 5_000, 4_000
POISONED = 0.2
AHEAD = 6
LOW = np.array([channel.minimum for channel in CHANNELS])
HIGH = np.array([channel.maximum for channel in CHANNELS])

Row = NDArray[np.float64]
Garble = Callable[[Row, np.random.Generator], Row]


def out_of_range(row: Row, rng: np.random.Generator) -> Row:
    row[rng.integers(len(row))] = rng.choice([1e30, -1e9, -999, np.inf])
    return row


def anywhere(row: Row, rng: np.random.Generator) -> Row:
    del row
    return rng.uniform(LOW, HIGH)


def swapped(row: Row, rng: np.random.Generator) -> Row:
    return rng.permutation(row)


def all_zero(row: Row, rng: np.random.Generator) -> Row:
    del rng
    return np.zeros_like(row)


def of_another(row: Row, rng: np.random.Generator) -> Row:
    del row
    station = STATIONS[rng.integers(1, len(STATIONS))]
    return np.asarray(station.values[rng.integers(len(station.values))], np.float64)


GARBLES: tuple[Garble, ...] = (out_of_range, anywhere, swapped, all_zero, of_another)


def poison(rows: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return rows of which a share is garbage, and which ones."""
    rng = np.random.default_rng(seed)
    bad = rng.random(len(rows)) < POISONED
    made = rows.astype(np.float64)
    for place in np.flatnonzero(bad):
        made[place] = GARBLES[rng.integers(len(GARBLES))](made[place], rng)
    with np.errstate(over="ignore"):
        return made.astype(np.float32), bad


@dataclass(frozen=True, slots=True)
class Published:
    """What was predicted for each hour ``[H]``, NaN where nothing was, and what was learned."""

    served: NDArray[np.float64]
    personal: NDArray[np.float64]
    examples: list[Example]


def run(
    bundle: Bundle, station: Station, rows: NDArray[np.float32], guard: GuardSettings
) -> Published:
    """Go through a stream as a device does, six hours at a time."""
    settings = PipelineSettings(learn=LearnerSettings(batch=16, learning_rate=1e-3), guard=guard)
    pipeline, compute = Pipeline(bundle.manifest, first_version(bundle), settings), Compute(bundle)
    found = Published(np.full(len(rows), np.nan), np.full(len(rows), np.nan), [])

    def do(effect: Effect) -> Event | None:
        match effect:
            case Infer():
                return compute.infer(effect)
            case Train():
                return compute.train(effect)
            case Publish(predictions):
                for one in predictions:
                    hour = (one.time - int(station.times[0])) // HOUR_MS
                    served = one.personal if one.served == "personal" else one.released
                    found.served[hour], found.personal[hour] = served[0], one.personal[0]
            case Store(examples=examples):
                found.examples.extend(examples)
        return None

    for start in range(0, len(rows), AHEAD):
        hours = range(start, min(start + AHEAD, len(rows)))
        records = tuple(Record("s", int(station.times[h]), rows[h], SPOKEN) for h in hours)
        carry_out(pipeline, pipeline.feed(Arrived(records)), do)
    return found


def fresh(window: int) -> Bundle:
    """A model that knows nothing yet."""
    spec = msgspec.structs.replace(specification(STATIONS), window=window)
    built = build(spec, np.random.default_rng(0))
    return Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )


def released(window: int) -> Bundle:
    """A model that was trained on what all stations measured before."""
    bundle = fresh(window)
    learned = [
        example
        for station in STATIONS
        for example in run(bundle, station, station.values[:LEARNED], GUARD).examples
    ]
    weights = (
        Replay(
            start=bundle.weights,
            state=initial_state(bundle.manifest),
            examples=Batch(
                window=np.stack([example.window for example in learned]),
                time=np.array([example.time for example in learned]),
                label=np.array([example.label for example in learned], np.float32)[:, None],
                weight=np.ones(len(learned), np.float32),
            ),
            epochs=5,
            batch=64,
            learning_rate=1e-3,
            seed=0,
        )
        .run(Trainer(bundle.train))
        .weights
    )
    return replace(bundle, weights=weights)


def raised(bundle: Bundle, guard: GuardSettings, model: str) -> float:
    """Return by which share garbage raises the error of a model on the clean rows."""
    station = replace(
        STATIONS[0], times=STATIONS[0].times[LEARNED:], values=STATIONS[0].values[LEARNED:]
    )
    rows, truth = station.values[:HOURS], station.values[AHEAD : HOURS + AHEAD, 0]
    poisoned, bad = poison(rows, seed=1)
    undisturbed, disturbed = (
        np.abs(getattr(run(bundle, station, made, guard), model) - truth)
        for made in (rows, poisoned)
    )
    judged = ~bad & np.isfinite(undisturbed) & np.isfinite(disturbed)
    assert judged.sum() > 0.7 * HOURS
    return float(disturbed[judged].mean() / undisturbed[judged].mean()) - 1


def test_a_trained_release_is_served_nearly_as_well_over_windows_full_of_garbage() -> None:
    """Of windows of eight rows, five in six hold a poisoned one."""
    assert raised(released(8), GUARD, "served") < 0.02


def test_a_model_that_learns_from_the_first_record_on_learns_nearly_as_well() -> None:
    """Rows alone, poisoned before the guard knows anything of the stream."""
    assert raised(fresh(1), GUARD, "personal") < 0.02


def test_without_the_guard_the_same_garbage_ruins_what_is_learned() -> None:
    assert raised(fresh(1), GuardSettings(enabled=False), "personal") > 0.2
