from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.rebuilding import cut_windows


@given(
    st.sets(st.integers(0, 40)),
    st.lists(st.integers(-5, 45), max_size=20),
    st.integers(1, 5),
)
def test_windows_are_cut_exactly_where_all_rows_are_there(
    present: set[int], ends: list[int], length: int
) -> None:
    slots = np.array(sorted(present), np.int64)
    cells = slots.astype(np.float32).reshape(-1, 1)
    windows, whole = cut_windows(slots, cells, np.array(ends, np.int64), length)
    wanted = [list(range(end - length + 1, end + 1)) for end in ends]
    assert whole.tolist() == [present.issuperset(window) for window in wanted]
    assert windows[:, :, 0].tolist() == [w for w in wanted if present.issuperset(w)]
