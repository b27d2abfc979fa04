from __future__ import annotations

from dataclasses import replace

import numpy as np

from headwater.settings import Duration
from headwater_models.manifest import Grid, Manifest
from headwater_models.offline.examples import Examples, cut_examples
from tests.models.offline.tables import MINUTE, manifest, recording

NAN = np.nan


def level(values: list[float], minutes: list[float] | None = None, **more: object) -> Examples:
    cells = [[value, 1.0] for value in values]
    at = minutes if minutes is not None else list(range(len(values)))
    return cut_examples([recording(at, cells)], manifest(**more))


def classifier() -> Manifest:
    return manifest(
        task="classification",
        classes=("a", "b"),
        loss="cross_entropy",
        target="",
        horizon=Duration(0),
    )


def test_each_window_has_the_target_one_horizon_later_as_its_label() -> None:
    found = level([1, 2, 3, 4])
    assert found.times.tolist() == [MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert found.windows(np.array([0, 1]))[:, :, 0].tolist() == [[1, 2], [2, 3]]
    np.testing.assert_array_equal(found.labels, [3, 4, NAN])


def test_a_held_value_is_no_label_and_a_gap_ends_a_window() -> None:
    held = Grid(period=Duration(MINUTE), max_gap=Duration(3 * MINUTE), hold=1)
    found = level([1, 2, NAN, 4, 5, 6], [0, 1, 2, 3, 9, 10], grid=held)
    assert (found.times // MINUTE).tolist() == [1, 2, 3, 10]
    np.testing.assert_array_equal(found.labels, [NAN, 4, NAN, NAN])


def test_a_window_that_is_mostly_missing_or_ends_unobserved_is_none() -> None:
    at = [0.0, 1, 2, 3, 4]
    cells: list[list[float]] = [[1, 1], [NAN, NAN], [NAN, 1], [NAN, NAN], [1, NAN]]
    found = cut_examples([recording(at, cells)], manifest())
    assert (found.times // MINUTE).tolist() == []
    fuller: list[list[float]] = [[1, 1], [NAN, 1], [NAN, 1], [1, 1], [NAN, NAN]]
    found = cut_examples([recording(at, fuller)], manifest())
    assert (found.times // MINUTE).tolist() == [1, 2, 3]


def test_other_tasks_are_labelled_by_their_own_row() -> None:
    one = recording([0, 1, 2, 3], [[i, 1] for i in range(4)], labels=[0, 1, NAN, 1])
    found = cut_examples([one], classifier())
    np.testing.assert_array_equal(found.labels, [1, NAN, 1])


def test_a_window_with_a_cell_beyond_its_range_is_doubted() -> None:
    one = recording(list(range(6)), [[i, 1] for i in range(6)])
    doubted = replace(one, doubted=np.array([False, False, True, False, False, False]))
    found = cut_examples([doubted], manifest())
    assert found.doubted.tolist() == [False, True, True, False, False]


def test_streams_lie_one_after_the_other_and_no_window_reaches_across() -> None:
    first = recording([0, 1, 2], [[1, 1], [2, 1], [3, 1]], stream="a")
    second = recording([3, 4], [[4, 1], [5, 1]], stream="b")
    found = cut_examples([first, second], manifest())
    assert found.names == ("a", "b")
    assert found.stream.tolist() == [0, 0, 1]
    assert found.windows(np.arange(3))[:, :, 0].tolist() == [[1, 2], [2, 3], [4, 5]]
    np.testing.assert_array_equal(found.labels, [3, NAN, NAN])


def test_rows_that_share_a_slot_or_a_time_with_another_are_counted() -> None:
    found = level([1, 2, 3, 4, 5], [0, 0.9, 2, 2, 3])
    assert (found.crowded, found.repeated, found.period) == (2, 1, MINUTE)
    clean = level([1, 2, 3])
    assert (clean.crowded, clean.repeated) == (0, 0)


def test_a_batch_is_filled_up_with_weightless_rows() -> None:
    batch = level([1, 2, 3, 4]).batch(np.array([1]), 3)
    assert batch.window.shape == (3, 2, 2)
    assert batch.weight.tolist() == [1, 0, 0]
    assert batch.label[:, 0].tolist() == [4, 4, 4]
