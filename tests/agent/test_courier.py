from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from headwater import wire
from headwater.errors import BundleError, StorageError, UnreachableError
from headwater.objects import digest
from headwater_agent.client import Delivered
from headwater_agent.correspondence import CONNECTION, LedgerLine, StoredTask, StoredVersion
from headwater_agent.courier import ACCOUNTED_EVERY_MS, Courier
from headwater_agent.exchange import Exchange, ExchangeReader
from headwater_agent.ledger import complaints
from headwater_agent.outcome import write_outcome
from headwater_agent.receipts import Received, Reconciled, reconcile
from headwater_models.signing import sign_receipt
from headwater_models.weights import load_weights
from tests.agent.federating import (
    NAME,
    URL,
    MemoryConnection,
    check_in,
    delegation,
    delivered,
    device,
    evaluate,
    name_of,
    packed,
    release,
    settings,
    task_name,
    train,
    update,
    weights,
)
from tests.models.bundles import RELEASE, STRANGER


def deliver(folder: Path, connection: MemoryConnection, rounds: int = 1) -> None:
    """Run a client on the device's folders for some rounds, as one process."""
    made = settings(folder)
    exchange = Exchange(made.exchange_db)
    try:
        courier = Courier(made, device(), exchange, connection, clock=lambda: 1_000)
        for _ in range(rounds):
            courier.exchange_once()
        courier.close()
    finally:
        exchange.close()


def reader(folder: Path) -> ExchangeReader:
    return ExchangeReader(settings(folder).exchange_db)


def ledger(folder: Path) -> tuple[list[LedgerLine], list[LedgerLine]]:
    """The answers in the ledger, and the lines about what connections sent."""
    lines = [entry.line for entry in reader(folder).entries()]
    split = [[one for one in lines if (one.kind == CONNECTION) is about] for about in (False, True)]
    return split[0], split[1]


def test_a_release_is_on_disk_with_its_weights_before_it_is_acknowledged(tmp_path: Path) -> None:
    connection = MemoryConnection([release(3, 2)])
    deliver(tmp_path, connection)
    version = name_of(weights(3))
    path = settings(tmp_path).exchange / "versions" / f"{version}.safetensors"
    loaded = load_weights(path, device().manifest)
    assert packed(loaded).tobytes() == packed(weights(3)).tobytes()
    newest = reader(tmp_path).newest()
    assert newest is not None
    assert newest.version == version
    ((fields, array),) = connection.answers.values()
    assert wire.decode_reply(fields) == wire.Received(device=NAME, version=version, accepted=True)
    assert array is None


def test_the_publishers_later_statement_outlives_the_process(tmp_path: Path) -> None:
    said = delegation(STRANGER)
    deliver(tmp_path, MemoryConnection([release(3, 2, number=1), check_in(2, said)]), rounds=2)

    assert reader(tmp_path).delegation() == said
    assert reader(tmp_path).newest() is None, "its key was revoked"
    connection = MemoryConnection([release(4, 3, number=3), release(5, 3, number=4, key=STRANGER)])
    deliver(tmp_path, connection)
    declined, received = (wire.decode_reply(fields) for fields, _ in connection.answers.values())
    assert isinstance(declined, wire.Declined)
    assert declined.reason == "bad-signature"
    assert isinstance(received, wire.Received)


def test_a_statement_that_was_changed_on_the_disk_stops_the_client(tmp_path: Path) -> None:
    with closing(Exchange(settings(tmp_path).exchange_db)) as exchange:
        exchange._db.execute("INSERT INTO delegation VALUES (1, '{}')")
        with pytest.raises(BundleError, match="damaged"):
            Courier(settings(tmp_path), device(), exchange, MemoryConnection())


def test_a_check_in_is_answered_from_the_agents_status(tmp_path: Path) -> None:
    own = device().current
    status = wire.CheckedIn(
        device=NAME, model=own.model, version=own.version, sequence=1, records=5
    )
    (settings(tmp_path).share / "status.json").write_bytes(wire.encode(status))
    connection = MemoryConnection([check_in()])
    deliver(tmp_path, connection)
    ((fields, _),) = connection.answers.values()
    assert wire.decode_reply(fields) == status


def test_a_damaged_status_is_as_good_as_none(tmp_path: Path) -> None:
    (settings(tmp_path).share / "status.json").write_bytes(b"{half")
    connection = MemoryConnection([check_in()])
    deliver(tmp_path, connection)
    ((fields, _),) = connection.answers.values()
    answer = wire.decode_reply(fields)
    assert isinstance(answer, wire.CheckedIn)
    assert answer.records == 0


def test_an_update_is_sent_checked_and_in_the_ledger(tmp_path: Path) -> None:
    connection = MemoryConnection([train()])
    deliver(tmp_path, connection)
    assert [task.task for task in reader(tmp_path).waiting()] == [task_name(1)]
    assert connection.left is False
    reply, array = update()
    write_outcome(settings(tmp_path).share, reply, array)
    connection = MemoryConnection()
    deliver(tmp_path, connection)
    assert connection.answers == {train().flower: (wire.encode(reply), array.tobytes())}
    ((line,), _) = ledger(tmp_path)
    assert (line.task, line.kind, line.arrays, line.peer) == (
        task_name(1),
        "update",
        ("arrays",),
        URL,
    )
    assert line.bytes == len(wire.encode(reply)) + array.nbytes
    assert line.digest == digest(wire.encode(reply), array)
    assert connection.left is True


def test_all_that_a_connection_sends_is_in_the_ledger(tmp_path: Path) -> None:
    deliver(tmp_path, MemoryConnection([check_in()]))
    deliver(tmp_path, MemoryConnection(), rounds=3)
    _, connections = ledger(tmp_path)
    assert [(one.requests, one.bytes) for one in connections] == [(6, 600), (4, 400)]
    assert {one.peer for one in connections} == {URL}


def test_receipts_for_what_was_sent_agree_with_the_ledger(tmp_path: Path) -> None:
    connection = MemoryConnection([check_in(1)])
    deliver(tmp_path, connection)
    ((fields, _),) = connection.answers.values()
    told = sign_receipt(
        RELEASE,
        model=device().trusted.model,
        device=NAME,
        number=1,
        kind="checked-in",
        message=digest(fields, None),
        task=None,
        time_ms=0,
    )
    message = wire.CheckIn(protocol=2, receipts=(told,))
    deliver(tmp_path, MemoryConnection([delivered(message, number=2)]))
    entries = reader(tmp_path).entries()
    assert reader(tmp_path).receipts() == [told]
    found = reconcile(reader(tmp_path).folds(), entries, reader(tmp_path).receipts())
    assert found == Reconciled((), frozenset({entries[0].number}), ())


def test_a_connection_that_lasts_is_accounted_for_every_hour(tmp_path: Path) -> None:
    made = settings(tmp_path)
    now = [0]
    with closing(Exchange(made.exchange_db)) as exchange:
        courier = Courier(made, device(), exchange, MemoryConnection(), clock=lambda: now[0])
        for _ in range(12):
            courier.exchange_once()
            now[0] += ACCOUNTED_EVERY_MS // 4
        _, connections = ledger(tmp_path)
        assert [one.requests for one in connections] == [1 + 5, 4]
        courier.close()
    _, connections = ledger(tmp_path)
    assert [one.requests for one in connections] == [1 + 5, 4, 3]


def test_a_leak_in_an_outcome_does_not_leave(tmp_path: Path) -> None:
    deliver(tmp_path, MemoryConnection([train()]))
    reply, _ = update()
    write_outcome(settings(tmp_path).share, reply, packed(weights(1))[:-1])
    connection = MemoryConnection()
    deliver(tmp_path, connection)
    ((fields, array),) = connection.answers.values()
    assert wire.decode_reply(fields) == wire.Declined(
        device=NAME, task=task_name(1), reason="failed"
    )
    assert array is None


def test_weights_no_one_asks_for_any_more_are_removed(tmp_path: Path) -> None:
    messages = [release(seed, seed, number=seed) for seed in range(2, 8)]
    connection = MemoryConnection([*messages, evaluate(9, seed=20)])
    deliver(tmp_path, connection)
    folder = settings(tmp_path).exchange / "versions"
    kept = {name_of(weights(seed)) for seed in (5, 6, 7, 20)}
    assert {path.stem for path in folder.glob("*.safetensors")} == kept
    assert {version.version for version in reader(tmp_path).versions()} == kept


def test_a_version_whose_file_is_lost_is_unknown(tmp_path: Path) -> None:
    deliver(tmp_path, MemoryConnection([release(3, 2)]))
    for path in (settings(tmp_path).exchange / "versions").iterdir():
        path.unlink()
    connection = MemoryConnection([train(1, base=name_of(weights(3)))])
    deliver(tmp_path, connection)
    ((fields, _),) = connection.answers.values()
    assert wire.decode_reply(fields) == wire.Declined(
        device=NAME, task=task_name(1), reason="unknown-base"
    )


def all_messages() -> list[Delivered]:
    return [train(1), release(3, 2, number=2), evaluate(4, seed=4), check_in(5)]


class FullDisk(Exchange):
    """A database that cannot be written any more."""

    def keep(
        self,
        task: StoredTask,
        version: StoredVersion | None,
        receipts: Sequence[Received] = (),
        delegation: str | None = None,
    ) -> None:
        raise StorageError(f"The disk is full, {task.task} and {version} are not kept.")


def test_a_message_that_could_not_be_stored_is_not_confirmed(tmp_path: Path) -> None:
    made = settings(tmp_path)
    connection = MemoryConnection(all_messages())
    with closing(FullDisk(made.exchange_db)) as exchange:
        courier = Courier(made, device(), exchange, connection)
        with pytest.raises(StorageError, match="disk is full"):
            courier.exchange_once()
    assert len(connection.messages) == len(all_messages())


@pytest.mark.parametrize("late", [False, True])
def test_cut_off_at_any_call_it_ends_as_if_nothing_had_happened(
    tmp_path: Path, *, late: bool
) -> None:
    (tmp_path / "whole").mkdir()
    write_outcome(settings(tmp_path / "whole").share, *update())
    whole = MemoryConnection(all_messages())
    deliver(tmp_path / "whole", whole, rounds=2)
    assert len(whole.answers) == 3
    for calls in range(20):
        folder = tmp_path / str(calls)
        folder.mkdir()
        write_outcome(settings(folder).share, *update())
        connection = MemoryConnection(all_messages(), fails=calls, late=late)
        with pytest.raises(UnreachableError):
            deliver(folder, connection, rounds=10)
        connection.fails = 1_000_000
        deliver(folder, connection, rounds=2)
        assert connection.answers == whole.answers
        assert reader(folder).waiting() == reader(tmp_path / "whole").waiting()
        lines, _ = ledger(folder)
        assert len(lines) == 3
        assert not list(complaints(reader(folder).folds(), reader(folder).entries()))
        states = {reader(folder).task(line.task) for line in lines}
        assert {task.state for task in states if task is not None} == {"answered"}
