from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from headwater import wire
from headwater.errors import (
    BundleError,
    NotNowError,
    PeerError,
    StorageError,
    UnreachableError,
)
from headwater_agent import federation
from headwater_agent.courier import Connection
from headwater_agent.exchange import ExchangeReader
from headwater_agent.outcome import write_outcome
from headwater_agent.pauses import write_pauses
from headwater_agent.settings import Trust
from headwater_agent.verdict import Device
from tests.agent.federating import (
    PUBLIC_SETTINGS,
    MemoryConnection,
    check_in,
    delivered,
    settings,
    task_name,
    train,
    update,
)
from tests.models.bundles import STRANGER, tiny


class Clock(threading.Event):
    """A stop signal that counts the pauses, takes no time, and stops after the last one."""

    def __init__(self, pauses: int = 1_000) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._left = pauses

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        if len(self.pauses) >= self._left:
            self.set()
        return self.is_set()


class Unreachable(MemoryConnection):
    """A coordinator that must not be spoken to."""

    def open(self) -> None:
        raise AssertionError("it was spoken to")


class Unknown(MemoryConnection):
    """A coordinator that does not know the device."""

    def open(self) -> None:
        raise PeerError("This device's key is not enrolled.")


def run(
    folder: Path,
    connection: Connection,
    stop: Clock,
    *,
    once: bool = False,
    refusal: Callable[[], str | None] = lambda: None,
) -> None:
    def connect(_: Device) -> Connection:
        return connection

    federation.run(settings(folder), connect, refusal, once=once, stop=stop, rng=Random(1))


def test_with_once_it_ends_when_nothing_is_owed(tmp_path: Path) -> None:
    connection = MemoryConnection([check_in()])
    run(tmp_path, connection, Clock(), once=True)
    assert len(connection.answers) == 1
    assert connection.left is True


def test_with_once_it_stays_until_its_task_is_answered(tmp_path: Path) -> None:
    connection = MemoryConnection([train()])
    stop = Clock(pauses=5)
    run(tmp_path, connection, stop, once=True)
    assert len(stop.pauses) == 5
    assert connection.left is False
    write_outcome(settings(tmp_path).share, *update())
    run(tmp_path, connection, Clock(), once=True)
    assert set(connection.answers) == {train().flower}


def test_with_once_an_unknown_device_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="not enrolled"):
        run(tmp_path, Unknown(), Clock(), once=True)


def test_with_once_a_coordinator_that_stays_away_is_given_up(tmp_path: Path) -> None:
    stop = Clock()
    with pytest.raises(UnreachableError):
        run(tmp_path, MemoryConnection(fails=0), stop, once=True)
    assert len(stop.pauses) == federation.ATTEMPTS_ONCE - 1


def test_resident_it_goes_on_through_all_that_the_network_does(tmp_path: Path) -> None:
    for connection in (Unknown(), MemoryConnection(fails=0)):
        stop = Clock(pauses=20)
        run(tmp_path, connection, stop)
        assert len(stop.pauses) == 20


def test_pauses_are_the_interval_and_double_up_to_a_bound_while_it_is_away(tmp_path: Path) -> None:
    stop = Clock(pauses=30)
    run(tmp_path, MemoryConnection(), stop)
    assert all(0.8 <= pause <= 1.2 for pause in stop.pauses)
    stop = Clock(pauses=30)
    run(tmp_path, MemoryConnection(fails=0), stop)
    assert 0.5 <= stop.pauses[0] <= 1
    assert 2 <= stop.pauses[2] <= 4
    assert max(stop.pauses) <= federation.LONGEST_PAUSE_S
    assert min(stop.pauses[10:]) >= federation.LONGEST_PAUSE_S / 2


def test_it_comes_less_often_where_the_coordinator_asks_for_it(tmp_path: Path) -> None:
    often = delivered(wire.CheckIn(protocol=2, poll_ms=100), number=2)
    seldom = delivered(wire.CheckIn(protocol=2, poll_ms=60_000), number=1)
    stop = Clock(pauses=10)
    run(tmp_path, MemoryConnection([often, seldom]), stop)
    assert 0.8 <= stop.pauses[0] <= 72
    assert all(48 <= pause <= 72 for pause in stop.pauses[1:])
    stop = Clock(pauses=5)
    run(tmp_path, MemoryConnection([often]), stop)
    assert all(0.8 <= pause <= 1.2 for pause in stop.pauses)


def refusals(*given: str | None) -> Callable[[], str | None]:
    """Refuse or allow in this order, and the last for ever."""
    left = list(given)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_where_it_is_not_allowed_the_coordinator_is_not_spoken_to(tmp_path: Path) -> None:
    with pytest.raises(NotNowError, match=r"Not now: on battery\."):
        run(tmp_path, Unreachable(), Clock(), once=True, refusal=refusals("on battery"))
    stop = Clock(pauses=30)
    run(tmp_path, Unreachable(), stop, refusal=refusals("on battery"))
    assert min(stop.pauses[10:]) >= federation.LONGEST_PAUSE_S / 2


def test_the_owner_sees_since_when_and_why_it_waits(tmp_path: Path) -> None:
    reader = ExchangeReader(settings(tmp_path).exchange_db)
    run(tmp_path, Unreachable(), Clock(pauses=3), refusal=refusals("on battery"))
    waiting = reader.refusal()
    assert waiting is not None
    assert waiting.reason == "on battery"
    run(tmp_path, Unreachable(), Clock(pauses=3), refusal=refusals("on battery"))
    assert reader.refusal() == waiting
    run(tmp_path, MemoryConnection(), Clock(pauses=1))
    assert reader.refusal() is None


def test_resident_it_goes_on_as_soon_as_it_is_allowed_again(tmp_path: Path) -> None:
    connection = MemoryConnection([check_in()])
    run(tmp_path, connection, Clock(pauses=3), refusal=refusals("on battery", "on battery", None))
    assert len(connection.answers) == 1


def test_it_hangs_up_when_it_is_not_allowed_any_more(tmp_path: Path) -> None:
    connection = MemoryConnection([train()])
    run(tmp_path, connection, Clock(pauses=2), refusal=refusals(None, None, "on battery"))
    assert connection.left is False  # its task is not answered: another process will follow
    with pytest.raises(NotNowError, match="on battery"):
        run(tmp_path, connection, Clock(), once=True, refusal=refusals(None, None, "on battery"))


def test_a_second_client_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    first_is_in = threading.Event()
    end = threading.Event()

    class Waiting(MemoryConnection):
        def open(self) -> None:
            first_is_in.set()
            end.wait(30)

    thread = threading.Thread(target=run, args=(tmp_path, Waiting(), Clock(pauses=1)))
    thread.start()
    try:
        assert first_is_in.wait(30)
        with pytest.raises(StorageError, match="Another federation client"):
            run(tmp_path, MemoryConnection(), Clock(pauses=1))
    finally:
        end.set()
        thread.join()


def test_a_bundle_that_is_unsigned_or_of_a_stranger_is_refused(tmp_path: Path) -> None:
    tiny().save(tmp_path / "unsigned")
    made = settings(tmp_path)
    unsigned = msgspec.structs.replace(
        made, bundle=tmp_path / "unsigned", trust=Trust(allow_unsigned=True)
    )
    with pytest.raises(BundleError, match="not signed"):
        federation.load_device(unsigned)
    strange = msgspec.structs.replace(made, trust=Trust(publisher=STRANGER.public))
    with pytest.raises(BundleError, match="the publisher trusted here"):
        federation.load_device(strange)


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headwater_agent.federation", *arguments]
    return subprocess.run(
        [*command, "--settings", str(folder / "agent.toml")],
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("prepare", "code", "sentence"),
    [
        (lambda _: None, 8, "node.key cannot be read"),
        (
            lambda made: (made / "agent.toml").write_text(
                PUBLIC_SETTINGS + 'allow = ["/bin/sh", "-c", "echo on battery; false"]\n'
            ),
            9,
            "error: Not now: on battery.",
        ),
        (
            lambda made: write_pauses(made / "state" / "share", ("federation",)),
            9,
            "error: Not now: the owner paused it (headwater agent resume).",
        ),
        (lambda made: (made / "agent.toml").write_text("devise = 1"), 3, "devise: there is no"),
        (
            lambda made: (made / "agent.toml").write_text(
                PUBLIC_SETTINGS.partition("[federation]")[0]
            ),
            3,
            "federation.coordinator: this key is required",
        ),
    ],
    ids=["no key", "not allowed", "paused", "unknown setting", "no coordinator"],
)
def test_the_process_ends_with_a_sentence_and_its_code(
    tmp_path: Path, prepare: Callable[[Path], object], code: int, sentence: str
) -> None:
    settings(tmp_path)
    (tmp_path / "agent.toml").write_text(PUBLIC_SETTINGS)
    prepare(tmp_path)
    done = started(tmp_path, "--once")
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_the_process_is_as_nice_as_it_is_told(tmp_path: Path) -> None:
    settings(tmp_path)
    program = "import os; print(os.getpriority(os.PRIO_PROCESS, os.getppid())); exit(1)"
    allow = f'allow = ["{sys.executable}", "-c", "{program}"]'
    least = os.getpriority(os.PRIO_PROCESS, 0)
    for nice in (7, 0):
        text = PUBLIC_SETTINGS + f"nice = {nice}\n{allow}\n"
        (tmp_path / "agent.toml").write_text(text)
        assert f"Not now: {max(nice, least)}." in started(tmp_path, "--once").stderr


def test_the_password_of_the_broker_is_not_asked_for(tmp_path: Path) -> None:
    settings(tmp_path)
    text = PUBLIC_SETTINGS + '[broker]\nusername = "x"\npassword_file = "not ours"\n'
    (tmp_path / "agent.toml").write_text(text)
    assert "node.key cannot be read" in started(tmp_path).stderr


def test_tasks_are_there_for_the_agent_after_the_process_ended(tmp_path: Path) -> None:
    run(tmp_path, MemoryConnection([train()]), Clock(pauses=1))
    waiting = ExchangeReader(settings(tmp_path).exchange_db).waiting()
    assert [task.task for task in waiting] == [task_name(1)]
