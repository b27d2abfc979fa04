"""What the coordinator says it received, held against what the ledger says was sent. No I/O."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from headwater import wire
from headwater.errors import BundleError
from headwater_agent.ledger import DAY_MS, Entry, Fold
from headwater_agent.verdict import Device
from headwater_models.signing import Receipt, verify_receipt


@dataclass(frozen=True, slots=True)
class Received:
    """A receipt, and the signed statement that proves it."""

    receipt: Receipt
    statement: str


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What came of holding receipts against a ledger.

    Parameters
    ----------
    complaints
        What must not be: a receipt that no entry explains, or that was changed.
    confirmed
        Numbers of the entries with a receipt.
    unconfirmed
        Numbers of those without one, though there is one for a later entry: the coordinator did
        not want the answer any more, or it was lost. Later ones merely wait for theirs.
    """

    complaints: tuple[str, ...]
    confirmed: frozenset[int]
    unconfirmed: tuple[int, ...]


def read_receipts(device: Device, message: wire.CheckIn) -> tuple[tuple[Received, ...], list[str]]:
    """Return the receipts in a check-in that are proved and about this device, and complaints."""
    found, complaints = [], []
    for statement in () if message.receipts is msgspec.UNSET else message.receipts:
        try:
            receipt = verify_receipt(statement, trusted=device.trusted)
        except BundleError as error:
            complaints.append(f"A receipt of the coordinator is not believed: {error}")
            continue
        if receipt.device == device.name:
            found.append(Received(receipt, statement))
        else:
            complaints.append(f"The coordinator sent a receipt of the device {receipt.device}.")
    return tuple(found), complaints


def reconcile(
    folds: Sequence[Fold], entries: Sequence[Entry], statements: Iterable[str]
) -> Reconciled:
    """Hold receipts against the entries of a ledger.

    Parameters
    ----------
    folds, entries
        The ledger, oldest first.
    statements
        The signed receipts that are kept. One that no entry explains is not judged when it is of a
        day that is folded.
    """
    waiting: dict[str, deque[int]] = defaultdict(deque)
    tasks = {entry.line.task: entry.number for entry in entries if entry.line.task}
    for entry in entries:
        if entry.line.digest:
            waiting[entry.line.digest].append(entry.number)
    complaints, confirmed = [], set()
    for statement in statements:
        try:
            receipt = verify_receipt(statement)
        except BundleError as error:
            complaints.append(f"A receipt that is kept here was changed: {error}")
            continue
        if waiting[receipt.message]:
            confirmed.add(waiting[receipt.message].popleft())
        elif not folds or receipt.time_ms // DAY_MS > folds[-1].day:
            complaints.append(_unexplained(receipt, tasks.get(receipt.task or "")))
    newest = max(confirmed, default=0)
    unconfirmed = (number for numbers in waiting.values() for number in numbers if number < newest)
    return Reconciled(tuple(complaints), frozenset(confirmed), tuple(sorted(unconfirmed)))


def _unexplained(receipt: Receipt, entry: int | None) -> str:
    what = f"Receipt {receipt.number}: the coordinator received"
    if entry is not None:
        return f"{what} other bytes ({receipt.message[:12]}) than entry {entry} says."
    return f"{what} a message ({receipt.kind}, {receipt.message[:12]}) that no entry tells of."
