"""The cyclic collector works seldom during a run, and as before after it."""

from __future__ import annotations

import gc

import pytest

from headwater_simulator.virtual.collector import YOUNG, seldom_collected


def test_it_looks_at_what_is_new_seldom_and_at_what_was_there_not_at_all() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()

    with seldom_collected():
        assert gc.get_threshold() == (YOUNG, *before[0][1:])
        assert gc.get_freeze_count() > before[1]
        assert gc.isenabled()

    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_what_somebody_else_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        before = gc.get_freeze_count()
        with seldom_collected():
            pass
        assert gc.get_freeze_count() >= before > 0
    finally:
        gc.unfreeze()


def test_a_run_that_fails_leaves_it_as_it_was() -> None:
    before = gc.get_threshold()

    with pytest.raises(RuntimeError), seldom_collected():
        raise RuntimeError

    assert gc.get_threshold() == before


def test_cycles_are_found_in_the_end() -> None:
    class Node:
        alive = 0

        def __init__(self) -> None:
            self.me = self
            self.more: list[list[int]] = [[] for _ in range(10)]
            Node.alive += 1

        def __del__(self) -> None:
            Node.alive -= 1

    with seldom_collected():
        most = 0
        for _ in range(4 * YOUNG // 10):
            Node()
            most = max(most, Node.alive)

    assert most < 2 * YOUNG // 10
