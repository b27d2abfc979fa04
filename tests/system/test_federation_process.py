"""The federation client as a process of its own user, with a real SuperLink on the other side."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message

from headwater import wire
from headwater_agent.client import Delivered
from headwater_agent.exchange import ExchangeReader
from headwater_agent.ledger import complaints
from headwater_agent.nodekey import make_key
from headwater_agent.outcome import write_outcome
from headwater_agent.settings import AgentSettings, StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from tests.agent.federating import (
    PUBLIC_SETTINGS,
    URL,
    check_in,
    delegation,
    device,
    name_of,
    release,
    settings,
    train,
    update,
    weights,
)
from tests.conftest import skip_or_fail
from tests.models.bundles import RELEASE, STRANGER
from tests.system.superlink import ServerApp, SuperLink

pytestmark = pytest.mark.system

NOBODY = 65_534

RUN = """
import os, sys
from headwater_agent import federation, flower
import encodings.ascii, encodings.idna
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for name in (sys.argv[1], sys.argv[1] + "-wal"):
    try:
        open(name, "rb").close()
        print("opened", flush=True)
    except PermissionError:
        print("refused", flush=True)
    except FileNotFoundError:
        print("absent", flush=True)
sys.exit(federation.main(sys.argv[2:]))
"""
"""Everything is imported before the user changes, as the interpreter may lie in root's home."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach."""
    made = Path(tempfile.mkdtemp(prefix="headwater-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def link(tmp_path: Path) -> Iterator[SuperLink]:
    with SuperLink(tmp_path) as running:
        yield running


def prepare(folder: Path, link: SuperLink) -> AgentSettings:
    """Lay the device out: the agent's folders of this user, the client's of nobody."""
    made = settings(folder)
    with closing(SqliteStore(made.agent_db, device().manifest, StoreSettings())):
        pass
    shutil.copy(link.ca, folder / "ca.crt")
    text = PUBLIC_SETTINGS.replace(URL, link.url) + 'ca = "ca.crt"\n'
    (folder / "agent.toml").write_text(text)
    make_key(made.exchange)
    if os.geteuid() == 0:
        for path in (made.exchange, *made.exchange.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    return made


@contextmanager
def running(folder: Path, made: AgentSettings) -> Iterator[subprocess.Popen[str]]:
    """A federation client, killed at the end if it still runs."""
    arguments = [str(made.agent_db), "--settings", str(folder / "agent.toml")]
    command = [sys.executable, "-c", RUN, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ask(app: ServerApp, node: int, message: Delivered) -> str:
    return app.send(node, message.kind, message.fields, message.array)


def reply_of(message: Message) -> wire.Reply:
    record = message.content["headwater"]
    assert isinstance(record, ConfigRecord)
    fields = record["fields"]
    assert isinstance(fields, bytes)
    return wire.decode_reply(fields)


def test_it_serves_the_coordinator_without_a_look_at_the_agents_database(
    folder: Path, link: SuperLink
) -> None:
    if os.geteuid() != 0:
        skip_or_fail("only root can start a process as another user")
    made = prepare(folder, link)
    node = link.enrol(made.exchange / "node.pub")
    reader = ExchangeReader(made.exchange_db)
    with running(folder, made) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "refused\n"
        wait_until(lambda: link.status(node) == "online")
        app = ServerApp(link)
        asked = ask(app, node, check_in())
        released = ask(app, node, release(3, 2))
        trained = ask(app, node, train())
        assert isinstance(reply_of(app.receive(asked)), wire.CheckedIn)
        version = name_of(weights(3))
        assert reply_of(app.receive(released)) == wire.Received(
            device="pi-1", version=version, accepted=True
        )
        newest = reader.newest()
        assert newest is not None
        assert newest.version == version
        wait_until(reader.waiting)
        process.kill()
        assert process.wait(10) == -signal.SIGKILL

    reply, array = update()
    write_outcome(made.share, reply, array)
    with running(folder, made) as process:
        message = app.receive(trained)
        assert reply_of(message) == reply
        arrays = message.content["arrays"]
        assert isinstance(arrays, ArrayRecord)
        assert np.array_equal(arrays["arrays"].numpy(), array)
        wait_until(lambda: not reader.waiting())
        process.terminate()
        assert process.wait(30) == 0
    assert link.status(node) == "offline"
    kinds = [entry.line.kind for entry in reader.entries() if entry.line.task]
    assert sorted(kinds) == ["checked-in", "received", "update"]
    assert sum(entry.line.requests for entry in reader.entries()) >= 2 * len(kinds)
    assert not list(complaints(reader.folds(), reader.entries()))
    app.close()


def test_a_revoked_key_releases_nothing_more_also_after_a_kill(
    folder: Path, link: SuperLink
) -> None:
    made = prepare(folder, link)
    node = link.enrol(made.exchange / "node.pub")
    declined = wire.Declined(device="pi-1", task=name_of(weights(3)), reason="bad-signature")
    with running(folder, made) as process:
        wait_until(lambda: link.status(node) == "online")
        app = ServerApp(link)
        app.receive(ask(app, node, check_in(1, delegation(STRANGER, later=2))))
        assert ExchangeReader(made.exchange_db).delegation() == delegation(STRANGER, later=2)
        assert reply_of(app.receive(ask(app, node, release(3, 2)))) == declined
        process.kill()
        process.wait(10)

    with running(folder, made) as process:
        app.receive(ask(app, node, check_in(2, delegation(RELEASE))), seconds=60)
        assert reply_of(app.receive(ask(app, node, release(3, 3)))) == declined
        new = app.receive(ask(app, node, release(3, 4, key=STRANGER)))
        assert isinstance(reply_of(new), wire.Received)
        process.terminate()
        assert process.wait(30) == 0
    app.close()


def test_it_outlives_a_superlink_that_is_killed_and_comes_back(
    folder: Path, link: SuperLink
) -> None:
    made = prepare(folder, link)
    node = link.enrol(made.exchange / "node.pub")
    with running(folder, made) as process:
        wait_until(lambda: link.status(node) == "online")
        link.stop()
        link.start()
        app = ServerApp(link)
        asked = ask(app, node, check_in())
        assert isinstance(reply_of(app.receive(asked, seconds=60)), wire.CheckedIn)
        app.close()
        process.terminate()
        assert process.wait(30) == 0
