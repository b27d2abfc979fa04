"""Predictions that wait to be looked at together."""

from __future__ import annotations

import numpy as np

from headwater_agent.events import Prediction
from headwater_agent.pieces import Pieces, without
from headwater_agent.predictions import Predictions
from tests.agent.making import prediction

WINDOWS = np.arange(6, dtype=np.float32).reshape(3, 2, 1)


def columns(*made: Prediction) -> Predictions:
    return Predictions.of(made)


def test_pieces_come_back_as_one_in_their_order() -> None:
    pieces, made = Pieces(), columns(*(prediction(time) for time in range(3)))
    pieces.add(made[:2], WINDOWS[:2], np.array([1.0, 2.0]))
    pieces.add(columns(), WINDOWS[:0])
    pieces.add(made[2:], WINDOWS[2:], np.array([3.0]))
    assert len(pieces) == 3
    predictions, windows, losses = pieces.drain()
    assert predictions.ids == made.ids
    np.testing.assert_array_equal(windows, WINDOWS)
    assert losses.tolist() == [1, 2, 3]
    assert not pieces


def test_what_is_of_a_stream_can_be_left_out() -> None:
    pieces, made = Pieces(), columns(prediction(1, "a"), prediction(2, "b"), prediction(3, "a"))
    pieces.add(made, WINDOWS)
    pieces.leave_out("a")
    predictions, windows, _ = pieces.drain()
    assert predictions.ids == made.ids[1:2]
    np.testing.assert_array_equal(windows, WINDOWS[1:2])


def test_without_streams_everything_is_kept() -> None:
    made = columns(prediction(1, "a"))
    predictions, windows = without(set(), made, WINDOWS)
    assert predictions is made
    assert windows is WINDOWS
