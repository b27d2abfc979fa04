"""What all tests share: a real broker, server and data, and what a missing one means."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.postgresql import PostgresqlServer

# A test says what holds, not how long it takes on a busy machine.
settings.register_profile("headwater", deadline=None)
settings.load_profile("headwater")

REQUIRE_ALL = os.environ.get("HEADWATER_REQUIRE_ALL") == "1"


def skip_or_fail(reason: str) -> None:
    """Skip by name on a user's machine; fail where everything is required, as in CI."""
    if REQUIRE_ALL:
        pytest.fail(f"{reason} (HEADWATER_REQUIRE_ALL=1 forbids a skip)")
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is required, a test that skips has failed."""
    report = yield
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"HEADWATER_REQUIRE_ALL=1 forbids the skip: {report.longrepr}"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what mostly waits, so that no process is left with it alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("system") is None)


@pytest.fixture(autouse=True)
def _undo_entry_points() -> Iterator[None]:
    """Undo what a process's entry point, called in a test, does to the whole process."""
    umask = os.umask(0)
    os.umask(umask)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    os.umask(umask)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, seconds: float = 10.0) -> None:
    """Return once something listens on the loopback port."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real sensor data (``HEADWATER_DATA``)."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HEADWATER_DATA", default))
    if not folder.is_dir():
        skip_or_fail(f"the sensor data is not at {folder}; set HEADWATER_DATA")
    return folder


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server, one for each process of tests that asks for it."""
    from tests.postgresql import PostgresqlServer, installed  # noqa: PLC0415 - where it is wanted

    if not installed():
        skip_or_fail("PostgreSQL is not installed")
    with closing(PostgresqlServer()) as server:
        yield server


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[int]:
    """A mosquitto of the test's own; yields its port."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        skip_or_fail("mosquitto is not installed")
    assert program is not None
    port = free_port()
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    with (tmp_path / "mosquitto.log").open("w") as log:
        broker = subprocess.Popen([program, "-c", str(settings)], stdout=log, stderr=log)
        try:
            wait_for_port(port)
            yield port
        finally:
            broker.terminate()
            broker.wait(10)
