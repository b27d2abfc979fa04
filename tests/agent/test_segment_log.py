from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent import segment_log
from headwater_agent.segment import DamagedError, whole
from headwater_agent.segment_log import (
    EXAMPLES,
    JOINED,
    PREDICTIONS,
    ROWS,
    SCORES,
    SMALL,
    TABLE,
    SegmentLog,
)


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute(TABLE)
    return connection


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = opened()
    yield made
    made.close()


@pytest.fixture
def log(connection: sqlite3.Connection) -> SegmentLog:
    return SegmentLog(connection)


def add_rows(log: SegmentLog, *slots: int, stream: int = 1) -> None:
    cells = np.array(slots, "<f4").tobytes()
    log.append(ROWS, (np.full(len(slots), stream), whole(slots)), cells)


def slots(log: SegmentLog) -> list[int]:
    found: list[int] = log.columns(ROWS)[1].tolist()
    return found


def cells(log: SegmentLog) -> list[float]:
    parts = [log.cells(stored)[:, 0].tolist() for stored in log.newest_first(ROWS)]
    return [value for part in parts[::-1] for value in part]


def add_predictions(log: SegmentLog, first: int, *ids: str) -> None:
    count = len(ids)
    numbers = np.arange(first, first + count)
    columns = (numbers, *[np.zeros(count, np.int64)] * 7, whole([len(one) for one in ids]))
    log.append(PREDICTIONS, columns, b"", "".join(ids))


steps = st.lists(
    st.one_of(
        st.integers(1, 12).map(lambda count: ("append", count)),
        st.integers(1, 30).map(lambda limit: ("trim", limit)),
        st.just(("refresh", 0)),
    ),
    max_size=60,
)


@given(steps)
def test_what_is_read_is_what_was_written_whatever_the_groups(story: list[tuple[str, int]]) -> None:
    connection = opened()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_log, "SMALL", 4)
        patch.setattr(segment_log, "JOINED", 10)
        log, wanted, newest = SegmentLog(connection), list[int](), 0
        for step, number in story:
            if step == "append":
                group = range(newest, newest + number)
                add_rows(log, *group)
                wanted += group
                newest += number
            elif step == "trim":
                assert log.trim(ROWS, number) == max(0, len(wanted) - number)
                wanted = wanted[-number:]
            else:
                log.refresh()
            assert slots(log) == wanted
            assert cells(log) == wanted
            assert log.count(ROWS) == len(wanted)
            assert _heads_are_true(log)
    connection.close()


def test_small_segments_are_joined_and_large_ones_left_alone(log: SegmentLog) -> None:
    for slot in range(3 * JOINED):
        add_rows(log, slot)
    assert [head.count for head in log.heads(ROWS)] == [JOINED] * 3
    add_rows(log, 1)
    add_rows(log, 2, 3)
    add_rows(log, *range(SMALL))
    assert [head.count for head in log.heads(ROWS)][3:] == [3, SMALL]
    assert slots(log)[-SMALL - 3 :] == [1, 2, 3, *range(SMALL)]


def test_joined_segments_keep_their_texts(log: SegmentLog) -> None:
    ids = [f"id-{n}" * (n % 3) for n in range(JOINED)]
    for number, one in enumerate(ids):
        add_predictions(log, number, one)
    (stored,) = log.newest_first(PREDICTIONS)
    assert log.texts(stored) == ids
    assert log.find("id-700") == 700
    assert log.find("id-") is None


def test_kinds_do_not_disturb_each_other(log: SegmentLog) -> None:
    for n in range(JOINED):
        add_rows(log, n)
        log.append(SCORES, (whole([n]), whole([2 * n])))
    assert log.columns(SCORES).tolist() == [list(range(JOINED)), list(range(0, 2 * JOINED, 2))]
    log.trim(SCORES, 1)
    assert slots(log) == list(range(JOINED))


def test_segments_without_the_keys_asked_for_are_passed_over(log: SegmentLog) -> None:
    for start in (0, 1_000, 2_000):
        add_rows(log, *range(start, start + SMALL))
    found = log.newest_first(ROWS, first=1_100, last=1_200)
    assert [int(stored.table[1, 0]) for stored in found] == [1_000]


def test_what_is_spared_stays_when_the_oldest_goes(log: SegmentLog) -> None:
    add_rows(log, *range(5), stream=2)
    add_rows(log, *range(100, 120))
    assert log.trim(ROWS, 10, lambda table: (table[0] == 2) & (table[1] >= 3)) == 13
    assert slots(log) == [3, 4, *range(110, 120)]
    assert log.trim(ROWS, 10, lambda table: (table[0] == 2) & (table[1] >= 3)) == 0


def test_segments_that_hold_nothing_from_a_key_on_are_dropped(log: SegmentLog) -> None:
    for start in (0, SMALL, 2 * SMALL):
        log.append(SCORES, (np.arange(start, start + SMALL), np.zeros(SMALL, np.int64)))
    log.drop_before(SCORES, SMALL + 1)
    assert log.columns(SCORES)[0, 0] == SMALL
    log.drop_before(SCORES, 10 * SMALL)
    assert log.count(SCORES) == 0


def test_of_a_key_the_newest_entry_stays(log: SegmentLog) -> None:
    for label in range(10):
        log.append(SCORES, (whole([1, 2, 3]), whole([label, label, label])))
    log.append(SCORES, (whole([2]), whole([99])))
    log.forget_superseded(SCORES, 2)
    assert log.columns(SCORES).tolist() == [[3, 2], [9, 99]]


def test_after_a_rollback_the_log_is_what_the_database_holds(
    connection: sqlite3.Connection,
) -> None:
    log = SegmentLog(connection)
    add_rows(log, 1, 2)
    connection.execute("BEGIN")
    add_rows(log, 3)
    log.trim(ROWS, 1)
    connection.execute("ROLLBACK")
    log.refresh()
    assert slots(log) == [1, 2]
    assert log.count(ROWS) == 2
    add_rows(log, 4)
    assert slots(log) == [1, 2, 4]


def test_a_segment_that_is_not_what_was_written_is_never_read(
    connection: sqlite3.Connection,
) -> None:
    log = SegmentLog(connection)
    log.append(EXAMPLES, (whole([1]), whole([1]), whole([5]), whole([0])), b"1234")
    connection.execute("UPDATE segments SET cells = x'31323335'")
    (stored,) = log.newest_first(EXAMPLES)
    with pytest.raises(DamagedError):
        log.cells(stored)
    connection.execute("UPDATE segments SET columns = x'00'")
    with pytest.raises(DamagedError):
        log.columns(EXAMPLES)


def _heads_are_true(log: SegmentLog) -> bool:
    tables = [stored.table for stored in log.newest_first(ROWS)][::-1]
    found = [(t.shape[1], int(t[1].min()), int(t[1].max())) for t in tables]
    return found == [(head.count, head.first, head.last) for head in log.heads(ROWS)]
