from __future__ import annotations

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from headwater_agent.drift_settings import DriftSettings, React, Watched
from headwater_agent.drift_settings import Estimate as EstimateSettings
from headwater_agent.events import Alarm, Prediction, Row
from headwater_agent.predictions import Predictions
from headwater_agent.watch import Reaction, SavedWatch, Watch, about
from tests.agent.model import MINUTE, manifest

ERROR = Alarm("tank-1", 0, "adwin", "", 2.0, 1.0)
INPUT = Alarm("tank-1", 0, "page-hinkley", "level", 2.0, 1.0)
ESTIMATE = Alarm("tank-1", 0, "estimate", "", 2.0, 1.0)


def watch(**react: object) -> Watch:
    return Watch(manifest(), DriftSettings(react=React(**react)))  # type: ignore[arg-type]


def prediction(minute: int, said: float = 1.0) -> Prediction:
    made = np.full((3, 1), said, np.float32)
    return Prediction("id", "tank-1", minute * MINUTE, "v1", made, "ok", 0)


@pytest.mark.parametrize(
    ("alarm", "what"), [(ERROR, "error"), (INPUT, "inputs"), (ESTIMATE, "estimate")]
)
def test_an_alarm_is_about_one_thing(alarm: Alarm, what: Watched) -> None:
    assert about(alarm) == what
    assert watch(to=(what,), reset=True).react([alarm]).reset
    others = tuple({"error", "inputs", "estimate"} - {what})
    assert watch(to=others, reset=True, retrain=True).react([alarm]) == Reaction()


def test_by_default_an_alarm_is_told_and_nothing_else_happens() -> None:
    one = watch()
    assert one.react([ERROR, INPUT, ESTIMATE]) == Reaction()
    assert not one.retrain


def test_each_reaction_is_asked_for_by_itself() -> None:
    assert watch(learning_rate=3.0, steps=50).react([ERROR]) == Reaction(3.0, 50, reset=False)
    assert watch(reset=True).react([INPUT, ERROR]) == Reaction(reset=True)
    one = watch(retrain=True)
    assert one.react([ERROR]) == Reaction()
    assert one.retrain


def test_a_wish_for_a_retrain_stays_until_a_release_comes() -> None:
    one = watch(retrain=True)
    one.react([ERROR])
    one.react([INPUT])
    assert one.retrain
    one.released()
    assert (one.retrain, one.alarms) == (False, 0)


def test_alarms_of_every_kind_are_raised_and_counted() -> None:
    rng = np.random.default_rng(0)
    settings = DriftSettings(mean_of=4, estimate=EstimateSettings(chunk=40))
    one = Watch(manifest(), settings)
    kinds = []
    for minute in range(1200):
        scale = 1.0 if minute < 800 else 6.0
        window = (scale * rng.standard_normal((1, 3, 2))).astype(np.float32)
        made = Predictions.of([prediction(minute)])
        found = one.joined([Row("tank-1", minute, window[0, -1] + scale, np.ones(2, np.bool_))])
        found += one.predicted(made, window)
        found += one.scored(made, window, np.abs(window[0, :1, 0]).astype(np.float64))
        kinds += [about(alarm) for alarm in found]
        assert minute >= 800 or not found
    assert set(kinds) == {"error", "inputs", "estimate"}
    assert one.alarms == len(kinds)


def test_a_checkpoint_keeps_counts_wishes_and_the_estimate() -> None:
    one, again = watch(retrain=True), watch(retrain=True)
    made = Predictions.of([replace(prediction(0), id=str(i)) for i in range(300)])
    one.scored(made, np.ones((300, 3, 2), np.float32), np.ones(300))
    one.react([ERROR])
    one.alarms = 3
    raw = msgspec.msgpack.encode(one.save())
    again.restore(msgspec.msgpack.decode(raw, type=SavedWatch))
    assert (again.alarms, again.retrain) == (3, True)
    assert again.estimate.labels == one.estimate.labels
