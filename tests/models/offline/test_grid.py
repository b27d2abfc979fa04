"""The join by hand; tests/system/test_offline.py holds it against the agent's."""

from __future__ import annotations

import numpy as np

from headwater.settings import Duration
from headwater_models.manifest import Grid
from headwater_models.offline.grid import join
from tests.models.offline.tables import MINUTE, recording

NAN = np.nan


def grid(*, max_gap: int = 3, hold: int = 0, lateness: int = 0) -> Grid:
    return Grid(
        period=Duration(MINUTE),
        max_gap=Duration(max_gap * MINUTE),
        hold=hold,
        lateness=Duration(lateness * MINUTE),
    )


def test_a_short_silence_is_filled_with_missing_rows_and_a_long_one_is_not() -> None:
    rows = join(recording([0, 1, 4, 9], [[1], [2], [3], [4]]), grid())
    assert rows.slots.tolist() == [0, 1, 2, 3, 4, 9]
    np.testing.assert_array_equal(rows.cells[:, 0], [1, 2, NAN, NAN, 3, 4])
    assert rows.record.tolist() == [0, 1, -1, -1, 2, 3]
    assert rows.start.tolist() == [0, 0, 0, 0, 0, 5]


def test_a_value_is_held_for_so_many_rows_and_never_across_a_gap() -> None:
    rows = join(recording([0, 3, 9, 10], [[1], [NAN], [NAN], [5]]), grid(hold=2))
    np.testing.assert_array_equal(rows.cells[:, 0], [1, 1, 1, NAN, NAN, 5])
    assert rows.observed[:, 0].tolist() == [True, False, False, False, False, True]


def test_the_first_record_of_a_slot_is_its_row() -> None:
    rows = join(recording([0.1, 0.9, 1.5], [[1], [2], [3]]), grid())
    assert rows.cells[:, 0].tolist() == [1, 3]


def test_while_a_slot_waits_after_a_gap_a_later_record_replaces_the_earlier() -> None:
    records = recording([0, 3.1, 3.6, 4.2, 5.0, 5.5], [[0], [1], [2], [3], [4], [5]])
    rows = join(records, grid(lateness=2))
    assert rows.slots.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(rows.cells[:, 0], [0, NAN, NAN, 2, 3, 4])
