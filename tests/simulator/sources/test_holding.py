"""A device can learn from what it holds, and then judge, before anything else."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.answers import MIN_EXAMPLES, MIN_ROWS
from headwater_agent.events import Batch
from headwater_simulator.sources.holding import GRID, LEAST, PAST, RESERVE, hold, kept_back
from headwater_simulator.sources.source import Holding


def holding(rows: int, held: float = 0.2) -> Holding:
    values = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    labels = np.arange(rows, dtype=np.float32)
    return hold(values, labels, held, np.random.default_rng(1))


@given(st.integers(0, 400), st.floats(0.01, 0.99))
def test_each_row_is_on_one_side_with_its_own_label(rows: int, held: float) -> None:
    found = holding(rows, held)
    windows = np.concatenate([found.learned.window, found.reserved.window])
    labels = np.concatenate([found.learned.label, found.reserved.label])
    assert sorted(labels[:, 0].tolist()) == list(range(rows))
    np.testing.assert_array_equal(windows[:, 0, 0], 2 * labels[:, 0])


@given(st.integers(LEAST, 400), st.floats(0.01, 0.99))
def test_whoever_has_enough_rows_can_learn_and_judge(rows: int, held: float) -> None:
    found = holding(rows, held)
    assert len(found.learned.time) >= MIN_EXAMPLES
    assert len(found.reserved.time) >= MIN_ROWS


@given(st.integers(0, LEAST), st.floats(0.01, 0.99))
def test_whoever_has_few_rows_learns_first(rows: int, held: float) -> None:
    assert kept_back(rows, held) == max(0, rows - MIN_EXAMPLES)


def test_of_many_rows_the_share_is_reserved() -> None:
    assert kept_back(1_000, 0.3) == 300


def test_batches_are_laid_out_for_one_row_windows() -> None:
    found = holding(100)
    for batch in (found.learned, found.reserved):
        shapes = [getattr(batch, field.name) for field in dataclasses.fields(Batch)]
        n = len(batch.time)
        assert [(a.shape, a.dtype.name) for a in shapes] == [
            ((n, 1, 2), "float32"),
            ((n,), "int64"),
            ((n, 1), "float32"),
            ((n,), "float32"),
        ]
        assert (batch.weight == 1).all()


@given(st.integers(1, 300))
def test_all_times_of_all_devices_lie_in_one_block_so_that_nothing_learned_seems_newer(
    rows: int,
) -> None:
    found = holding(rows)
    times = np.concatenate([found.learned.time, found.reserved.time])
    assert len(set(times.tolist())) == rows
    assert set((times // int(RESERVE.block)).tolist()) == {PAST // int(RESERVE.block)}
    assert RESERVE.block % GRID.period == 0
