from __future__ import annotations

import numpy as np

from headwater_agent.events import Prediction, Row
from headwater_agent.labels import ForecastLabels
from tests.agent.model import MINUTE, floats, manifest


def prediction(slot: int) -> Prediction:
    none = floats(0.0)
    return Prediction(f"p{slot}", "tank-1", slot * MINUTE, "v1", none, none, none, "ok", received=0)


def row(slot: int, level: float, *, observed: bool = True) -> Row:
    return Row("tank-1", slot, floats(level, 0), np.array([observed, True]))


def met(labels: ForecastLabels, item: Row) -> list[tuple[str, float]]:
    return [(found.prediction.id, found.label) for found in labels.meet(item)]


def test_a_prediction_meets_the_row_that_lies_a_horizon_after_it() -> None:
    labels = ForecastLabels(manifest(horizon=2))
    labels.expect(prediction(5), np.zeros((3, 2), np.float32))
    assert met(labels, row(6, 1.0)) == []
    assert met(labels, row(7, 2.5)) == [("p5", 2.5)]
    assert met(labels, row(7, 2.5)) == []


def test_a_missing_target_labels_nothing() -> None:
    labels = ForecastLabels(manifest(horizon=2))
    labels.expect(prediction(5), np.zeros((3, 2), np.float32))
    assert met(labels, row(7, float("nan"), observed=False)) == []


def test_a_held_target_labels_nothing() -> None:
    labels = ForecastLabels(manifest(horizon=2))
    labels.expect(prediction(5), np.zeros((3, 2), np.float32))
    assert met(labels, row(7, 3.0, observed=False)) == []


def test_after_a_jump_the_old_predictions_are_forgotten() -> None:
    labels = ForecastLabels(manifest(horizon=2))
    labels.expect(prediction(5), np.zeros((3, 2), np.float32))
    assert met(labels, row(50, 1.0)) == []
    assert met(labels, row(7, 1.0)) == []
