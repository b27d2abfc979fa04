from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent import ledger
from headwater_agent.correspondence import LedgerLine
from headwater_agent.ledger import BEGINNING, DAY_MS, Entry, Fold, Total, chained, complaints

LINES = st.builds(
    LedgerLine,
    time_ms=st.integers(0, 5 * DAY_MS),
    task=st.sampled_from(["", "a" * 64, "b" * 64]),
    kind=st.sampled_from(["update", "checked-in", "connection"]),
    arrays=st.sampled_from([(), ("arrays",), ("arrays", "statistics")]),
    bytes=st.integers(0, 10_000),
    peer=st.sampled_from(["https://one", "https://two"]),
    digest=st.sampled_from(["", "1" * 64]),
    requests=st.integers(0, 9),
)


@dataclass
class Book:
    """A ledger in memory, folded by hand."""

    folds: list[Fold]
    entries: list[Entry]

    def add(self, line: LedgerLine) -> None:
        number, before = 0, BEGINNING
        if self.folds:
            number, before = self.folds[-1].through, self.folds[-1].last
        if self.entries:
            number, before = self.entries[-1].number, self.entries[-1].hash
        self.entries.append(chained(before, number + 1, line, self.seal()))

    def seal(self, back: int = 1) -> str:
        return self.folds[-back].seal if len(self.folds) >= back else BEGINNING

    def fold(self, count: int) -> None:
        old, self.entries = self.entries[:count], self.entries[count:]
        for group in ledger.days(old):
            if self.folds and self.folds[-1].day == group[0].line.time_ms // DAY_MS:
                self.folds[-1] = ledger.widened(self.seal(2), self.folds[-1], group)
            else:
                self.folds.append(ledger.folded(self.seal(), group))

    def complaints(self, head: tuple[int, str] | None = None) -> list[str]:
        return list(complaints(self.folds, self.entries, head))


def book(lines: list[LedgerLine], folds: list[int]) -> Book:
    """Write lines, of which some are folded in between; the last is written after all folds."""
    made = Book([], [])
    for i, line in enumerate(lines):
        if i < len(folds):
            made.fold(folds[i])
        made.add(line)
    return made


BOOKS = st.builds(
    book, st.lists(LINES, min_size=1, max_size=9), st.lists(st.integers(0, 3), max_size=9)
)


@given(BOOKS)
def test_a_ledger_that_was_only_written_to_is_whole(made: Book) -> None:
    assert made.complaints() == []
    newest = made.entries[-1]
    assert made.complaints((newest.number, newest.hash)) == []


@given(BOOKS, st.lists(LINES, max_size=4), st.integers(0, 9))
def test_a_head_that_was_noted_earlier_is_still_in_it(
    made: Book, more: list[LedgerLine], folded: int
) -> None:
    head = (made.entries[-1].number, made.entries[-1].hash)
    for line in more:
        made.add(line)
    made.fold(min(folded, len(more)))
    made.add(LedgerLine(0, "", "connection", (), 1, "https://one"))
    assert all("folded and cannot be compared" in one for one in made.complaints(head))


OTHER: dict[str, Callable[[Any], Any]] = {
    "time_ms": lambda value: value + 1,
    "task": lambda value: value + "0",
    "kind": lambda value: value + "x",
    "arrays": lambda value: (*value, "arrays"),
    "bytes": lambda value: value - 1,
    "peer": lambda value: value + "/",
    "digest": lambda _: "2" * 64,
    "requests": lambda value: value + 1,
    "seal": lambda _: "3" * 64,
    "hash": lambda _: "4" * 64,
    "number": lambda value: value + 1,
    "last": lambda _: "5" * 64,
    "through": lambda value: value + 1,
    "day": lambda value: value + 1,
    "count": lambda value: value + 1,
}


def changed(one: Any, name: str) -> Any:
    return replace(one, **{name: OTHER[name](getattr(one, name))})


@given(BOOKS, st.data())
def test_any_change_of_any_value_of_any_entry_is_found(made: Book, data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(made.entries) - 1))
    name = data.draw(st.sampled_from([one.name for one in fields(LedgerLine)]))
    made.entries[i] = replace(made.entries[i], line=changed(made.entries[i].line, name))
    assert made.complaints()


@given(BOOKS, st.data(), st.sampled_from(["number", "seal", "hash"]))
def test_any_change_of_the_chain_itself_is_found(
    made: Book, data: st.DataObject, name: str
) -> None:
    i = data.draw(st.integers(0, len(made.entries) - 1))
    made.entries[i] = changed(made.entries[i], name)
    assert made.complaints()


@given(BOOKS.filter(lambda made: made.folds), st.data())
def test_any_change_of_what_was_folded_is_found(made: Book, data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(made.folds) - 1))
    fold = made.folds[i]
    j = data.draw(st.integers(0, len(fold.totals) - 1))
    name = data.draw(st.sampled_from(["seal", "last", "through", "day", "totals"]))
    if name == "totals":
        inner = data.draw(st.sampled_from([one.name for one in fields(Total)]))
        totals = (*fold.totals[:j], changed(fold.totals[j], inner), *fold.totals[j + 1 :])
        made.folds[i] = replace(fold, totals=totals)
    else:
        made.folds[i] = changed(fold, name)
    assert made.complaints()


@given(BOOKS.filter(lambda made: made.folds), st.integers(1, 9))
def test_totals_that_were_rewritten_with_all_their_seals_are_found(made: Book, more: int) -> None:
    seal = BEGINNING
    for i, fold in enumerate(made.folds):
        first = replace(fold.totals[0], count=fold.totals[0].count + (more if i == 0 else 0))
        made.folds[i] = ledger.resealed(seal, replace(fold, totals=(first, *fold.totals[1:])))
        seal = made.folds[i].seal
    assert made.complaints() == [
        "The totals of folded days are not those that the newest entry knew."
    ]


@given(BOOKS, st.data())
def test_an_entry_or_a_fold_that_is_taken_out_twice_or_elsewhere_is_found(
    made: Book, data: st.DataObject
) -> None:
    head = (made.entries[-1].number, made.entries[-1].hash)
    kinds: list[list[Any]] = [made.folds, made.entries]
    rows = data.draw(st.sampled_from([kind for kind in kinds if kind]))
    i = data.draw(st.integers(0, len(rows) - 1))
    match data.draw(st.sampled_from(["out", "twice", "moved"])):
        case "out":
            del rows[i]
        case "twice":
            rows.insert(i, rows[i])
        case "moved" if len(rows) > 1:
            rows.insert((i + 1) % len(rows), rows.pop(i))
        case _:
            return
    assert made.complaints(head)


@given(BOOKS, LINES)
def test_a_ledger_that_was_written_anew_has_another_head(made: Book, line: LedgerLine) -> None:
    head = (made.entries[-1].number, made.entries[-1].hash)
    first = made.entries[0]
    if line == first.line:
        return
    forged = Book(made.folds, [])
    for one in [line, *(entry.line for entry in made.entries[1:])]:
        forged.add(one)
    assert len(forged.entries) == len(made.entries)
    (found,) = (one for one in forged.complaints(head) if "written anew" in one)
    assert found == f"Entry {head[0]} is not the one that was noted: the ledger was written anew."


def test_a_ledger_that_lost_its_end_is_found_by_a_head_alone() -> None:
    made = book([LedgerLine(0, "", "connection", (), i, "https://one") for i in range(3)], [])
    head = (3, made.entries.pop().hash)
    assert made.complaints() == []
    assert made.complaints(head) == ["Entry 3 was noted, and the ledger ends with 2."]


@given(BOOKS)
def test_folding_keeps_the_totals_of_each_day_kind_and_peer(made: Book) -> None:
    kept = [*(total for fold in made.folds for total in fold.totals)]
    before = ledger.added([*kept, *ledger.total(entry.line for entry in made.entries)])
    made.fold(len(made.entries))
    assert ledger.added(total for fold in made.folds for total in fold.totals) == before


def test_a_days_entries_are_one_fold_however_often_they_are_folded() -> None:
    made = Book([], [])
    for day in (1, 1, 1, 2, 2):
        made.add(LedgerLine(day * DAY_MS, "", "connection", (), 10, "https://one", requests=2))
        made.fold(1)
    assert [(one.day, one.through) for one in made.folds] == [(1, 3), (2, 5)]
    assert made.folds[0].totals == (Total(1, "connection", "https://one", 3, 6, 30),)


@pytest.mark.parametrize("there", ["folds", "entries"])
def test_half_a_ledger_is_not_whole(there: str) -> None:
    made = book(
        [LedgerLine(0, "", "connection", (), i, "https://one") for i in range(4)], [0, 0, 2]
    )
    assert made.complaints() == []
    (made.entries if there == "folds" else made.folds).clear()
    assert made.complaints()
