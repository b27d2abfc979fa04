"""The ledger of what left: entries in a hash chain, the oldest folded into totals of their day.

Each entry holds the hash of the one before, and the seal of what was folded when it was written;
each fold is sealed over the seal before it and ends with the hash that the first entry left goes
on from. So the newest entry's hash, the *head*, stands for all that was ever written: whoever has
noted a head can tell whether anything before it was changed, put in or taken out. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import groupby

import msgspec

from headwater_agent.correspondence import LedgerLine

BEGINNING = sha256(b"headwater ledger 1\n").hexdigest()
"""What stands for the entry before the first one, and the seal before the first fold."""

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A line in the chain: its number from 1 on, the seal of its time, and its hash."""

    number: int
    line: LedgerLine
    seal: str
    hash: str


@dataclass(frozen=True, slots=True)
class Total:
    """What left on one UTC day (in days since 1970), of one kind, to one peer."""

    day: int
    kind: str
    peer: str
    count: int
    requests: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Fold:
    """What is left of the entries up to number ``through``, whose hash was ``last``.

    ``totals`` are of those that are in no fold before it.
    """

    day: int
    through: int
    last: str
    totals: tuple[Total, ...]
    seal: str


def chained(before: str, number: int, line: LedgerLine, seal: str) -> Entry:
    """Return the entry that follows the one with the hash *before*."""
    return Entry(number, line, seal, _hash(b"entry", [before, number, asdict(line), seal]))


def folded(before: str, entries: Sequence[Entry]) -> Fold:
    """Fold entries of one day, oldest first, onto the fold with the seal *before*."""
    return _sealed(before, entries[-1], total(entry.line for entry in entries))


def widened(before: str, fold: Fold, entries: Sequence[Entry]) -> Fold:
    """Fold more entries of its day into a fold that was sealed onto *before*."""
    return _sealed(before, entries[-1], added([*fold.totals, *folded(before, entries).totals]))


def days(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut entries where the day changes."""
    for _, group in groupby(entries, lambda entry: entry.line.time_ms // DAY_MS):
        yield list(group)


def total(lines: Iterable[LedgerLine]) -> tuple[Total, ...]:
    """Count lines by day, kind and peer."""
    return added(
        Total(line.time_ms // DAY_MS, line.kind, line.peer, 1, line.requests, line.bytes)
        for line in lines
    )


def added(totals: Iterable[Total]) -> tuple[Total, ...]:
    """Add up totals of the same day, kind and peer."""
    sums: dict[tuple[int, str, str], tuple[int, int, int]] = {}
    for one in totals:
        key = (one.day, one.kind, one.peer)
        count, requests, size = sums.get(key, (0, 0, 0))
        sums[key] = (count + one.count, requests + one.requests, size + one.bytes)
    return tuple(Total(*key, *sums[key]) for key in sorted(sums))


def complaints(
    folds: Sequence[Fold], entries: Sequence[Entry], head: tuple[int, str] | None = None
) -> Iterator[str]:
    """Yield in a sentence each what is wrong with a ledger; nothing where it is whole.

    Parameters
    ----------
    folds, entries
        All of them, oldest first.
    head
        Number and hash of an entry, as they were noted at some time.
    """
    yield from _fold_complaints(folds)
    hash_, number = (folds[-1].last, folds[-1].through) if folds else (BEGINNING, 0)
    for entry in entries:
        number += 1
        if entry.number != number:
            yield f"Entry {number} is missing; {entry.number} stands in its place."
        made = chained(hash_, entry.number, entry.line, entry.seal)
        if made.hash != entry.hash:
            yield f"Entry {entry.number} does not follow from the one before: one was changed."
        number, hash_ = entry.number, entry.hash
    if folds and (not entries or entries[-1].seal != folds[-1].seal):
        yield "The totals of folded days are not those that the newest entry knew."
    if head is not None:
        yield from _head_complaints(folds, entries, *head)


def _fold_complaints(folds: Sequence[Fold]) -> Iterator[str]:
    seal = BEGINNING
    for fold in folds:
        if resealed(seal, fold) != fold:
            yield f"The totals of the entries up to {fold.through} were changed."
        seal = fold.seal


def _head_complaints(
    folds: Sequence[Fold], entries: Sequence[Entry], number: int, hash_: str
) -> Iterator[str]:
    known = {fold.through: fold.last for fold in folds}
    known |= {entry.number: entry.hash for entry in entries}
    newest = max(known, default=0)
    if number > newest:
        yield f"Entry {number} was noted, and the ledger ends with {newest}."
    elif number not in known:
        yield f"Entry {number} is folded and cannot be compared; note a newer head."
    elif known[number] != hash_:
        yield f"Entry {number} is not the one that was noted: the ledger was written anew."


def _sealed(before: str, last: Entry, totals: tuple[Total, ...]) -> Fold:
    fold = Fold(last.line.time_ms // DAY_MS, last.number, last.hash, totals, "")
    return resealed(before, fold)


def resealed(before: str, fold: Fold) -> Fold:
    """Return a fold with the seal that its content has after the fold with the seal *before*."""
    totals = [asdict(one) for one in fold.totals]
    seal = _hash(b"fold", [before, fold.day, fold.through, fold.last, totals])
    return replace(fold, seal=seal)


def _hash(kind: bytes, content: object) -> str:
    """Hash JSON, in which no two contents look alike."""
    return sha256(kind + b"\n" + msgspec.json.encode(content, order="sorted")).hexdigest()
