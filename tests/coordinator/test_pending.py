"""Pending updates are read where they lie: whole, in stretches, with what a rule must know."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater import wire
from headwater_coordinator import events as e
from headwater_coordinator.database import Database
from headwater_coordinator.decisions import Ruling
from headwater_coordinator.location import Location
from headwater_coordinator.state import Device, Pending, Version
from headwater_coordinator.strategies import updates as module

pytestmark = pytest.mark.both_engines

BASE, OLDER = "1" * 64, "2" * 64
SIZE = 3_000


@pytest.fixture
def books(location: Location) -> Iterator[Database]:
    with Database(location) as database:
        database.begin(Version(BASE, 1, "", "{}"), 1)
        yield database


def vector(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=SIZE).astype(np.float32)


def accept(books: Database, node: str, seed: int, base: str = BASE) -> Pending:
    books.note(Device(node, node.lower()))
    pending = Pending(node, base, 4, 10 * seed)
    update = wire.Update(
        task="3" * 64,
        device=node.lower(),
        model="4" * 64,
        base=base,
        sequence=4,
        examples=500,
        loss_before=0.5 * seed,
        loss_after=0.1,
        data_until_ms=0,
    )
    books.accept(e.Accept(update, pending, vector(seed), 1), 5)
    return pending


def read(books: Database, *pending: Pending) -> module.Updates:
    """All that a merge would know, kept open for the test."""
    context = books.reading(
        pending,
        SIZE,
        staleness={BASE: 0, OLDER: 2}.__getitem__,
        packed=lambda version: np.full(SIZE, float(version[0]), np.float32),
    )
    return context.__enter__()


def test_updates_come_in_the_order_of_their_devices_keys(books: Database) -> None:
    later, first = accept(books, "B", 1), accept(books, "A", 2, OLDER)
    updates = read(books, later, first)
    assert [one.node for one in updates.about] == ["A", "B"]
    assert [one.examples for one in updates.about] == [20, 10]
    assert [one.staleness for one in updates.about] == [2, 0]
    assert [one.loss for one in updates.about] == [1.0, 0.5]
    np.testing.assert_array_equal(updates.source.vector(0), vector(2))
    np.testing.assert_array_equal(updates.source.vector(1), vector(1))
    assert (updates.source.base(0) == 2).all()


def test_stretches_are_read_from_the_middle_of_a_blob(
    books: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUDGET", 1)
    updates = read(books, accept(books, "A", 1), accept(books, "B", 2))
    rows = np.concatenate([rows for _, rows in updates.stretches()], axis=1)
    np.testing.assert_array_equal(rows, [vector(1), vector(2)])


def test_what_was_read_is_closed_so_that_the_merge_can_be_booked(books: Database) -> None:
    pending = accept(books, "A", 1)
    with books.reading([pending], SIZE, staleness=lambda _: 0, packed=vector) as updates:  # type: ignore[arg-type]
        list(updates.stretches())
    books.erase("A", Ruling("the owner"), 1)
    assert not books.load().pending
