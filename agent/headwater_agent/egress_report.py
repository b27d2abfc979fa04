"""What left the device, put together for its owner, and whether it holds together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from headwater.errors import LedgerError
from headwater_agent.correspondence import CONNECTION
from headwater_agent.exchange import ExchangeReader
from headwater_agent.ledger import DAY_MS, Entry, Total, complaints
from headwater_agent.receipts import reconcile

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of a UTC day: answers with their bytes, and requests with theirs.

    ``request_bytes`` are all that the client wrote, as HTTP, the answers among them.
    """

    day: str
    answers: int
    answer_bytes: int
    kinds: dict[str, int]
    requests: int
    request_bytes: int


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest entry, which stands for all before it."""

    number: int
    hash: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the chain is whole and explains every receipt.

    ``unconfirmed`` are the entries without a receipt before one that has one; ``waiting`` is how
    many are newer than that.
    """

    complaints: tuple[str, ...]
    entries: int
    receipts: int
    confirmed: int
    unconfirmed: tuple[int, ...]
    waiting: int


class EgressReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``headwater agent egress`` shows."""

    head: Head | None
    days: tuple[Day, ...]
    entries: tuple[Entry, ...]
    verdict: Verdict | None


def read_report(
    reader: ExchangeReader,
    days: int,
    *,
    verify: bool = False,
    head: tuple[int, str] | None = None,
) -> EgressReport:
    """Read what left.

    Parameters
    ----------
    reader
        Of ``exchange.db``.
    days
        Newest days that there is anything of, to be shown.
    verify
        Hold the ledger against itself and against the coordinator's receipts.
    head
        Number and hash of an entry that were noted, to be compared as well.

    Raises
    ------
    StorageError
        When the database cannot be read.
    LedgerError
        When it was changed so that it cannot be read.
    """
    totals = reader.totals()
    shown = sorted({one.day for one in totals})[-days:]
    since = shown[0] * DAY_MS if shown else 0
    entries = reader.entries(since)
    newest = reader.newest_entry()
    return EgressReport(
        head=None if newest is None else Head(number=newest.number, hash=newest.hash),
        days=tuple(_day(day, [one for one in totals if one.day == day]) for day in shown),
        entries=tuple(entries),
        verdict=_verdict(reader, head) if verify else None,
    )


def parse_head(text: str) -> tuple[int, str]:
    """Read a head as it is shown: number and hash, with a colon between.

    Raises
    ------
    ValueError
        When it is none.
    """
    number, _, hash_ = text.partition(":")
    if not number.isascii() or not number.isdigit() or len(hash_) != 64:
        raise ValueError(f"expected the number and the hash of an entry, NUMBER:HASH, got {text!r}")
    return int(number), hash_


def _verdict(reader: ExchangeReader, head: tuple[int, str] | None) -> Verdict:
    try:
        folds, entries, statements = reader.folds(), reader.entries(), reader.receipts()
    except LedgerError as error:
        return Verdict(
            complaints=(str(error),), entries=0, receipts=0, confirmed=0, unconfirmed=(), waiting=0
        )
    found = reconcile(folds, entries, statements)
    newest = max(found.confirmed, default=0)
    return Verdict(
        complaints=(*complaints(folds, entries, head), *found.complaints),
        entries=len(entries),
        receipts=len(statements),
        confirmed=len(found.confirmed),
        unconfirmed=found.unconfirmed,
        waiting=sum(1 for one in entries if one.line.task and one.number > newest),
    )


def _day(day: int, totals: list[Total]) -> Day:
    answers = [one for one in totals if one.kind != CONNECTION]
    kinds = {one.kind: 0 for one in answers}
    for one in answers:
        kinds[one.kind] += one.count
    return Day(
        day=(_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d"),
        answers=sum(one.count for one in answers),
        answer_bytes=sum(one.bytes for one in answers),
        kinds=kinds,
        requests=sum(one.requests for one in totals),
        request_bytes=sum(one.bytes for one in totals if one.kind == CONNECTION),
    )
