from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater_models.graphs.expression import Graph
from headwater_models.graphs.features import last_observed, window_features
from headwater_models.graphs.scaling import Scaling
from tests.models.graphs.harness import evaluate

SCALING = Scaling(mean=(10.0, 100.0), scale=(2.0, 50.0))


def features(window: list[list[list[float]]], time: datetime | None = None) -> list[float]:
    graph = Graph(np.float64)
    array = np.array(window, np.float64)
    value = graph.input("window", ("N", *array.shape[1:]))
    feeds: dict[str, NDArray[Any]] = {"window": array}
    clock = None
    if time is not None:
        clock = graph.input("time", ("N",), np.int64)
        feeds["time"] = np.array([int(time.timestamp() * 1000)])
    found = evaluate(window_features(graph, value, SCALING, clock).values, feeds)
    return [float(x) for x in found[0]]


def test_cells_are_scaled_the_last_row_leads_and_gaps_are_marked_beside() -> None:
    nan = float("nan")
    assert features([[[12, 50], [nan, 200]]]) == [0, 2, 1, -3, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("hour", "sine", "cosine"), [(0, 0, 1), (6, 1, 0), (12, 0, -1), (18, -1, 0)]
)
def test_the_hour_of_the_day_is_an_angle(hour: int, sine: float, cosine: float) -> None:
    clock = features([[[10, 100]]], datetime(2016, 3, 1, hour, tzinfo=UTC))[2:6]
    np.testing.assert_allclose([clock[0], clock[2]], [sine, cosine], atol=1e-9)


@pytest.mark.parametrize("year", [1961, 2013, 2017, 2038])
def test_the_day_of_the_year_is_an_angle_that_stays_in_step_with_the_calendar(year: int) -> None:
    clock = features([[[10, 100]]], datetime(year, 4, 2, tzinfo=UTC))[2:6]
    np.testing.assert_allclose([clock[1], clock[3]], [1, 0], atol=0.03)


def test_two_of_the_clock_s_columns_are_sines_and_two_cosines_of_one_moment() -> None:
    clock = features([[[10, 100]]], datetime(2016, 8, 17, 5, 43, 21, tzinfo=UTC))[2:6]
    np.testing.assert_allclose(np.square(clock[:2]) + np.square(clock[2:]), 1, rtol=1e-12)


def test_the_last_observed_value_is_found_from_the_end() -> None:
    nan = float("nan")
    graph = Graph(np.float64)
    window = graph.input("window", ("N", 3, 2))
    last = last_observed(graph, window, 1, graph.constant(-1.0))
    series = np.array([[1, 2, 3], [1, nan, nan], [nan, 5, nan], [nan, nan, nan]])
    feeds = {"window": np.stack([np.zeros_like(series), series], axis=2)}
    assert evaluate(last, feeds).tolist() == [[3], [1], [5], [-1]]
