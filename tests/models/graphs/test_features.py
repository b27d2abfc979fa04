from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater_models.graphs.expression import Graph
from headwater_models.graphs.features import Reading, last_observed, read_window, table_rows
from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Channel
from tests.models.graphs.harness import evaluate

CHANNELS = (
    Channel(name="level", minimum=0, maximum=20),
    Channel(name="rain", minimum=0, maximum=200),
)
MODE = Channel(name="mode", minimum=0, maximum=2, categories=("off", "on", "auto"))
SCALING = Scaling(mean=(10.0, 100.0), scale=(2.0, 50.0))
NAN = float("nan")


def reading(
    window: Any, channels: tuple[Channel, ...] = CHANNELS, scaling: Scaling = SCALING, **more: Any
) -> tuple[Reading, dict[str, NDArray[Any]]]:
    graph = Graph(np.float64)
    array = np.array(window, np.float64)
    value = graph.input("window", ("N", *array.shape[1:]))
    time = graph.input("time", ("N",), np.int64) if "time" in more else None
    table = graph.parameter("table", more["table"]) if "table" in more else None
    feeds = {"window": array}
    if "time" in more:
        feeds["time"] = np.array([int(more["time"].timestamp() * 1000)])
    return read_window(value, time, channels, scaling, table), feeds


def features(window: Any, time: datetime | None = None) -> list[float]:
    read, feeds = reading(window) if time is None else reading(window, time=time)
    return [float(x) for x in evaluate(read.flat().values, feeds)[0]]


def test_cells_are_scaled_the_last_row_leads_and_gaps_are_marked_beside() -> None:
    assert features([[[12, 50], [NAN, 200]]]) == [0, 2, 1, -3, 0, 0, 1, 0]


def test_the_columns_that_tell_of_gaps_are_named_as_such() -> None:
    read, _ = reading([[[12, 50], [NAN, 200]]])
    assert read.flat().gaps.tolist() == [False] * 4 + [True] * 4
    assert read.sequence().gaps.tolist() == [False] * 2 + [True] * 2


def test_a_sequence_keeps_the_order_of_the_rows_and_their_levels() -> None:
    read, feeds = reading([[[12, 50], [NAN, 200]]])
    found = evaluate(read.sequence().values, feeds)
    assert found.tolist() == [[[1, -1, 0, 0], [0, 2, 1, 0]]]


def test_the_present_is_the_last_row_and_the_clock() -> None:
    read, feeds = reading([[[12, 50], [NAN, 200]]], time=datetime(2016, 3, 1, tzinfo=UTC))
    row, clock = read.present()
    assert evaluate(row, feeds).tolist() == [[0, 2]]
    assert clock.shape == ("N", 4)


def test_a_logarithm_is_scaled_by_its_own_mean_and_negative_values_count_as_zero() -> None:
    scaling = Scaling(mean=(10.0, 100.0), scale=(2.0, 50.0), log={"rain": (1.0, 0.5)})
    read, feeds = reading([[[-12, np.e - 1]], [[NAN, -7]], [[12, NAN]]], scaling=scaling)
    found = evaluate(read.sequence().values, feeds)[:, 0]
    np.testing.assert_allclose(found, [[-11, 0, 0, 0], [0, -2, 1, 0], [1, 0, 0, 1]], atol=1e-12)


def test_a_category_is_looked_up_and_what_names_none_is_missing() -> None:
    table = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [9.0, 90.0]])
    cells = [[[0.0]], [[1.0]], [[2.0]], [[NAN]], [[3.0]], [[-1.0]], [[1e12]]]
    read, feeds = reading(cells, (MODE,), Scaling(mean=(0.0,), scale=(1.0,)), table=table)
    found = evaluate(read.flat().values, feeds)
    assert found[:, 0].tolist() == [1, 2, 3, 9, 9, 9, 9]
    assert found.shape == (7, 2)
    assert not read.flat().gaps.any()


def test_each_channel_with_categories_has_rows_of_its_own() -> None:
    door = Channel(name="door", minimum=0, maximum=1, categories=("shut", "open"))
    channels = (MODE, CHANNELS[0], door)
    assert table_rows(channels).tolist() == [False, False, False, True, False, False, True]
    table = np.arange(7.0)[:, np.newaxis]
    scaling = Scaling(mean=(0.0, 10.0, 0.0), scale=(1.0, 2.0, 1.0))
    read, feeds = reading([[[2, 14, 0], [NAN, 10, NAN]]], channels, scaling, table=table)
    assert evaluate(read.sequence().values, feeds).tolist() == [[[2, 2, 4, 0], [0, 3, 6, 0]]]


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
