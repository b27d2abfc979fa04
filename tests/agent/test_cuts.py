from __future__ import annotations

import numpy as np
import pytest

from headwater_agent.columns import RowRun
from headwater_agent.cuts import Cut, CutRun, told_of

VALUES = np.arange(12, dtype=np.float32).reshape(6, 2)
ROWS = RowRun("tank-1", 5, VALUES[2:], VALUES[2:] > 3)
WINDOWS = np.lib.stride_tricks.as_strided(VALUES, (4, 3, 2), (8, 8, 4))
CUTS = CutRun(ROWS, WINDOWS, [7] * 4, [False, True, False, False], [0.0, 0.5, 0.0, 0.25])


def told(cut: Cut) -> object:
    row = (cut.row.stream, cut.row.slot, cut.row.values.tolist())
    return (*row, cut.window.tolist(), cut.received, cut.marked, cut.missing)


@pytest.mark.parametrize("part", [slice(None), slice(1, 3), slice(2, None), slice(None, None, -1)])
def test_a_part_of_a_run_is_what_it_is_of_a_list(part: slice) -> None:
    one_by_one = list(CUTS)
    assert len(one_by_one) == len(CUTS) == 4
    assert list(map(told, CUTS[part])) == list(map(told, one_by_one[part]))
    assert [told(CUTS[at]) for at in range(-4, 4)] == list(map(told, one_by_one * 2))


def test_what_is_told_of_windows_is_the_same_of_a_run_and_of_a_list() -> None:
    assert told_of(CUTS) == told_of(list(CUTS))
