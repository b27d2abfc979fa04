from __future__ import annotations

import numpy as np
import pytest

from headwater_models.offline.numbering import counts_rows

ROWS = 600
RNG = np.random.default_rng(0)
TIMES = 60_000 * np.arange(ROWS)
ONE = np.zeros(ROWS, np.intp)


def counts(values: object, stream: object = ONE, times: object = TIMES) -> bool:
    return counts_rows(
        np.asarray(values, np.float64), np.asarray(stream, np.intp), np.asarray(times, np.int64)
    )


def test_a_column_that_rises_by_one_counts() -> None:
    assert counts(np.arange(7, 7 + ROWS))
    assert not counts(RNG.standard_normal(ROWS))
    assert not counts_rows(np.array([1.0]), ONE[:1], TIMES[:1])


def test_it_counts_when_the_rows_were_shuffled() -> None:
    mixed = RNG.permutation(ROWS)
    assert counts(np.arange(ROWS)[mixed], times=TIMES[mixed])


def test_it_counts_when_files_were_put_below_each_other() -> None:
    assert counts([*range(200), *range(200), *range(200)])


def test_it_counts_when_rows_were_deleted() -> None:
    kept = np.sort(RNG.choice(ROWS, 570, replace=False))
    assert counts(kept, ONE[:570], TIMES[kept])


def test_it_counts_across_streams_that_take_turns_and_within_each() -> None:
    turns = np.arange(ROWS) % 3
    assert counts(np.arange(ROWS), turns)
    assert counts(np.arange(ROWS) // 3, turns)


@pytest.mark.parametrize("size", [7, 24, 31, 60])
def test_the_hand_of_a_clock_does_not_count(size: int) -> None:
    assert not counts(np.arange(ROWS) % size)
