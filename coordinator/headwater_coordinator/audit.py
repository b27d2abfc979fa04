"""The chain of what was decided, by whom and why; and the proof that it is whole."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from headwater.errors import BundleError
from headwater_coordinator.home import Home
from headwater_coordinator.reader import reading
from headwater_models.bundle import Bundle
from headwater_models.signing import ModelStatement, later, verify_model, verify_version

RELEASES = {"begin": "release", "release": "release", "rollback": "rollback"}
"""Decisions from which a release followed, each with the kind that its statement has."""

_EXPECTED = {**RELEASES, "reject": "candidate"}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One decision; ``version`` and ``sequence``, or ``device``, say about what."""

    time_ms: int
    kind: str
    by: str
    version: str
    sequence: int
    device: str
    words: str
    statement: str
    """Signed, as JSON; empty where nothing was."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """How many statements were proved, and a sentence for each that does not hold."""

    statements: int
    complaints: list[str]


def audit(home: Home, *, since_ms: int = 0) -> list[Entry]:
    """Return decisions and refusals from a time on, UTC milliseconds, oldest first."""
    with reading(home.books) as books:
        return books.rows(Entry, _CHAIN, since=since_ms)


def prove(home: Home) -> Proof:
    """Hold every signed statement against the keys that may sign, and their order.

    Raises
    ------
    BundleError
        When the coordinator's own bundle does not hold.
    """
    bundle = Bundle.load(home.bundle)
    trusted, _ = bundle.verify()
    text = bundle.model_statement or ""
    chain = audit(home)
    entries = [entry for entry in chain if entry.kind in _EXPECTED]
    complaints = [*_falling(entries)]
    for entry in reversed(chain):
        if entry.kind == "renew":  # its statement is the one that held until then
            before = verify_model(entry.statement, model=trusted.model)
            later(before, text)
            trusted, text = before, entry.statement
        elif entry.kind in _EXPECTED:
            complaints += _false(entry, trusted)
    return Proof(statements=len(entries), complaints=complaints)


def _false(entry: Entry, trusted: ModelStatement) -> Iterator[str]:
    """Complain of a statement that is not signed, or says something else than the books."""
    name = f"{entry.kind} {entry.sequence} ({entry.version[:12]})"
    try:
        said = verify_version(entry.statement, trusted=trusted)
    except BundleError as error:
        yield f"{name}: {error}"
        return
    booked = (_EXPECTED[entry.kind], entry.version, entry.sequence)
    if (said.kind, said.version, said.sequence) != booked:
        yield f"{name}: its statement is about {said.kind} {said.sequence} of something else."


def _falling(entries: list[Entry]) -> Iterator[str]:
    """Complain of releases whose sequence does not lie above that of the one before."""
    last = 0
    for entry in entries:
        if entry.kind not in RELEASES:
            continue
        if entry.sequence <= last:
            yield f"{entry.kind} {entry.sequence} follows release {last}; sequences only rise."
        last = entry.sequence


_CHAIN = """
    SELECT time_ms, kind, by, version, sequence, device, words, statement
    FROM (
        SELECT number, 0 AS source, time_ms, kind, by, version, sequence, device, words, statement
        FROM decisions
        UNION ALL
        SELECT id, 1, time_ms, 'refuse', 'the firewall', '', 0,
            coalesce(nullif(device, ''), node), reason, ''
        FROM refusals
    ) AS chain
    WHERE time_ms >= :since ORDER BY time_ms, source, number
"""
