from __future__ import annotations

import pytest

from headwater import wire
from headwater_agent import ledger
from headwater_agent.correspondence import LedgerLine
from headwater_agent.ledger import DAY_MS, Entry, Fold
from headwater_agent.receipts import Reconciled, read_receipts, reconcile
from headwater_models.keys import SigningKey
from headwater_models.signing import sign_receipt
from tests.agent.federating import NAME, device
from tests.models.bundles import RELEASE, STRANGER


def receipt(
    entry: int,
    *,
    number: int = 1,
    key: SigningKey = RELEASE,
    name: str = NAME,
    model: str = "",
    task: str | None = None,
    day: int = 0,
) -> str:
    """The coordinator's word that the message of an entry came."""
    return sign_receipt(
        key,
        model=model or device().trusted.model,
        device=name,
        number=number,
        kind="update",
        message=f"{entry:064x}",
        task=task,
        time_ms=day * DAY_MS,
    )


def entries(*digests: int) -> list[Entry]:
    """A ledger of messages with these digests."""
    made: list[Entry] = []
    for i, number in enumerate(digests):
        line = LedgerLine(i, f"{i:064x}", "update", (), 1, "https://one", f"{number:064x}")
        before = made[-1].hash if made else ledger.BEGINNING
        made.append(ledger.chained(before, i + 1, line, ledger.BEGINNING))
    return made


def test_receipts_that_are_signed_for_this_device_are_believed() -> None:
    statement = receipt(1)
    found, complaints = read_receipts(device(), wire.CheckIn(protocol=2, receipts=(statement,)))
    assert [one.statement for one in found] == [statement]
    assert found[0].receipt.message == f"{1:064x}"
    assert complaints == []
    assert read_receipts(device(), wire.CheckIn()) == ((), [])


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (receipt(1, key=STRANGER), "does not delegate"),
        (receipt(1, name="pi-2"), "a receipt of the device pi-2"),
        (receipt(1, model="a" * 64), "is about model"),
        (receipt(1).replace("update", "upbeat"), "changed after it was signed"),
        ("{}", "damaged"),
    ],
    ids=["stranger", "another device", "another model", "changed", "damaged"],
)
def test_other_receipts_are_not(statement: str, why: str) -> None:
    good = receipt(2)
    found, (complaint,) = read_receipts(
        device(), wire.CheckIn(protocol=2, receipts=(statement, good))
    )
    assert why in complaint
    assert [one.statement for one in found] == [good]


def test_a_receipt_confirms_its_entry_and_the_newest_wait_for_theirs() -> None:
    found = reconcile([], entries(1, 2, 3), [receipt(1), receipt(2, number=2)])
    assert found == Reconciled((), frozenset({1, 2}), ())


def test_an_entry_without_a_receipt_before_one_that_has_one_is_unconfirmed() -> None:
    assert reconcile([], entries(1, 2, 3), [receipt(3)]) == Reconciled((), frozenset({3}), (1, 2))


def test_a_receipt_without_an_entry_is_an_alarm() -> None:
    (complaint,) = reconcile([], entries(1), [receipt(1), receipt(7, number=9)]).complaints
    assert complaint == (
        f"Receipt 9: the coordinator received a message (update, {7:064x}"[:67] + ") that no entry "
        "tells of."
    )


def test_a_receipt_for_other_bytes_of_a_task_names_its_entry() -> None:
    (complaint,) = reconcile([], entries(1, 2), [receipt(7, task=f"{1:064x}")]).complaints
    assert "received other bytes (000000000000) than entry 2 says" in complaint


def test_two_equal_messages_need_two_receipts_and_explain_no_third() -> None:
    told = [receipt(1, number=number) for number in range(3)]
    found = reconcile([], entries(1, 1), told)
    assert found.confirmed == {1, 2}
    (complaint,) = found.complaints
    assert complaint.startswith("Receipt 2: the coordinator received a message")


def test_a_receipt_that_was_changed_on_the_device_is_an_alarm() -> None:
    (complaint,) = reconcile([], entries(1), [receipt(1).replace("update", "upbeat")]).complaints
    assert "A receipt that is kept here was changed" in complaint


def test_receipts_of_folded_days_are_not_judged() -> None:
    folds = [Fold(3, 9, "", (), "")]
    assert reconcile(folds, [], [receipt(7, day=3)]).complaints == ()
    assert len(reconcile(folds, [], [receipt(7, day=4)]).complaints) == 1


def test_entries_of_programs_that_noted_no_digest_are_left_out() -> None:
    line = LedgerLine(0, "a" * 64, "update", (), 1, "https://one")
    old = ledger.chained(ledger.BEGINNING, 1, line, ledger.BEGINNING)
    assert reconcile([], [old], [receipt(7)]).unconfirmed == ()
