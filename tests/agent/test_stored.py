from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.errors import StorageError
from headwater_agent.migrations import AGENT, migrate
from headwater_agent.segment import DamagedError, bits, whole
from headwater_agent.segment_log import CORRECTIONS, EXAMPLES, HIGHEST, LOWEST, ROWS, SegmentLog
from headwater_agent.stored import Records, RowTable
from tests.agent.making import small_manifest


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:", isolation_level=None)
    migrate(made, AGENT, Path("x"))
    made.execute("INSERT INTO streams (id, name) VALUES (1, 's'), (3, 't')")
    yield made
    made.close()


@pytest.fixture
def log(connection: sqlite3.Connection) -> SegmentLog:
    return SegmentLog(connection)


@pytest.fixture
def records(connection: sqlite3.Connection) -> Records:
    return Records(connection, small_manifest(), Path("agent.db"))


def add_rows(log: SegmentLog, stream: int, slots: list[int], value: float = 0.0) -> None:
    cells = np.array([[slot, value] for slot in slots], "<f4")
    log.append(ROWS, (np.full(len(slots), stream), whole(slots)), cells.tobytes())


def add_examples(log: SegmentLog, *sequences: int, reserved: int = 0) -> None:
    count = len(sequences)
    columns = (whole(sequences), np.full(count, 1), whole(sequences), np.full(count, reserved))
    log.append(EXAMPLES, columns, np.array(sequences, "<f4").tobytes())


def between(records: Records, stream: int, first: int, last: int) -> RowTable:
    low, high = np.zeros(4, np.int64), np.full(4, -1)
    low[stream], high[stream] = first, last
    return records.rows(low, high)


def test_a_row_written_again_takes_the_place_of_the_earlier(
    log: SegmentLog, records: Records
) -> None:
    add_rows(log, 1, [1, 2, 3])
    add_rows(log, 3, [2], value=9)
    add_rows(log, 1, [2], value=5)
    found = between(records, 1, 0, 9)
    assert found.slots.tolist() == [1, 2, 3]
    assert found.cells[:, 1].tolist() == [0, 5, 0]
    assert records.count_rows(4).tolist() == [0, 3, 0, 1]


def test_the_newest_slot_of_a_stream_is_not_that_of_its_newest_row(
    log: SegmentLog, records: Records
) -> None:
    add_rows(log, 1, [7, 8])
    add_rows(log, 1, [3])
    assert records.newest_slots(4).tolist() == [LOWEST, 8, LOWEST, LOWEST]


def test_streams_have_their_names_at_their_numbers(records: Records) -> None:
    assert records.names() == ["", "s", "", "t"]


@example({(1, 3), (1, 5)}, [(1, 5)], 3)
@given(
    st.sets(st.tuples(st.integers(1, 3), st.integers(0, 12))),
    st.lists(st.tuples(st.integers(1, 4), st.integers(-3, 15)), max_size=20),
    st.integers(1, 5),
)
def test_windows_of_many_streams_are_cut_exactly_where_all_rows_are_there(
    present: set[tuple[int, int]], ends: list[tuple[int, int]], length: int
) -> None:
    own = np.array(sorted(present), np.int64).reshape(-1, 2)
    table = RowTable(own[:, 0], own[:, 1], own[:, 1:].astype(np.float32))
    asked = np.array(ends, np.int64).reshape(-1, 2)
    windows, whole_ones = table.windows(asked[:, 0], asked[:, 1], length)
    wanted = [[(stream, end - back) for back in reversed(range(length))] for stream, end in ends]
    assert whole_ones.tolist() == [present.issuperset(window) for window in wanted]
    assert windows[:, :, 0].tolist() == [
        [slot for _, slot in window] for window in wanted if present.issuperset(window)
    ]


def test_the_newest_examples_are_found_from_behind(log: SegmentLog, records: Records) -> None:
    for sequence in range(1, 600, 2):
        add_examples(log, sequence)
        add_examples(log, sequence + 1, reserved=1)
    found = records.examples(newest=3, reserved=False)
    assert found.sequences.tolist() == [595, 597, 599]
    assert records.examples(newest=2, reserved=True, through=6).sequences.tolist() == [4, 6]
    assert records.examples(newest=9, after=598).sequences.tolist() == [599, 600]
    assert records.last_example() == 600


def test_a_correction_counts_for_its_example_and_no_other(
    log: SegmentLog, records: Records
) -> None:
    add_examples(log, 5, 6, 7)
    for sequence, label in ((6, 60.0), (6, 61.0), (99, 1.0)):
        log.append(CORRECTIONS, (whole([sequence]), bits([label])))
    assert records.examples(newest=9).labels.tolist() == [5, 61, 7]


def test_an_example_written_again_counts_once(log: SegmentLog, records: Records) -> None:
    add_examples(log, 5, 6)
    add_examples(log, 6, 7)
    assert records.examples(newest=9).sequences.tolist() == [5, 6, 7]
    assert records.count_examples(4).tolist() == [0, 3, 0, 0]


def test_rows_of_another_model_are_refused(log: SegmentLog, records: Records) -> None:
    log.append(ROWS, (whole([1]), whole([1])), b"1234")
    with pytest.raises(StorageError, match="rows of another model"):
        between(records, 1, 0, HIGHEST)


def test_a_stream_that_is_not_known_is_damage(log: SegmentLog, records: Records) -> None:
    add_rows(log, 9, [1])
    with pytest.raises(DamagedError):
        records.newest_slots(4)
