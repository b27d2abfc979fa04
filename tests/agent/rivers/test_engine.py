from __future__ import annotations

import logging

import numpy as np
import pytest

from headwater_agent.rivers.engine import Engine
from headwater_agent.rivers.kinds import Inputs
from tests.agent.rivers.bundles import bundle, settings

GOOD: Inputs = {"f0": 1.0, "f1": 2.0}
BAD: Inputs = {"f0": 1.0, "f1": "a reading that is no number"}


def regression(model: str = "linear_model.LinearRegression") -> Engine:
    return Engine(settings(f"river.{model}"), bundle().manifest)


def test_rows_are_learned_in_their_order_and_counted() -> None:
    engine = regression()
    engine.learn([GOOD, GOOD], [1.0, 2.0], [1.0, 1.0])
    assert engine.examples == 2
    assert engine.predict([GOOD]).shape == (1, 1)


def test_a_weight_counts_where_the_model_takes_one() -> None:
    light, heavy = regression(), regression()
    light.learn([GOOD], [1.0], [0.5])
    heavy.learn([GOOD], [1.0], [1.0])
    assert 2 * light.predict([GOOD])[0, 0] == pytest.approx(heavy.predict([GOOD])[0, 0])


def test_a_model_that_takes_no_weights_learns_the_row_all_the_same() -> None:
    engine = regression("neighbors.KNNRegressor")
    engine.learn([GOOD], [1.0], [0.5])
    assert engine.predict([GOOD]).tolist() == [[1.0]]


def test_a_model_that_throws_while_it_learns_is_reported_once_and_paused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = regression()
    for _ in range(3):
        engine.learn([GOOD, BAD], [1.0, 2.0], [1.0, 1.0])
    assert engine.examples == 1
    assert np.isnan(engine.predict([GOOD])).all()
    assert engine.save() is None
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "LinearRegression is paused" in record.getMessage()
    assert "TypeError in " in record.getMessage()


def test_a_model_that_throws_while_it_predicts_is_paused_as_well() -> None:
    engine = regression()
    engine.learn([GOOD], [1.0], [1.0])
    assert np.isnan(engine.predict([GOOD, BAD])).all()
    assert engine.paused


def test_what_is_logged_of_an_error_quotes_no_reading(caplog: pytest.LogCaptureFixture) -> None:
    engine = regression()
    engine.learn([BAD], [1.0], [1.0])
    assert engine.paused
    assert "reading" not in caplog.text


def test_no_rows_are_no_predictions() -> None:
    assert regression().predict([]).shape == (0, 1)


def test_only_a_linear_model_has_a_state_to_save() -> None:
    assert regression().save() is not None
    assert regression("forest.ARFRegressor").save() is None
