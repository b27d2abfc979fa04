"""An MQTT broker of one's own on loopback: rumqttd (iotcore) in a child process."""

from __future__ import annotations

import importlib.util
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from headwater.errors import UnreachableError, UnsupportedError
from headwater_simulator.processes import Crew

MAX_INFLIGHT = 500
"""Its setting of that name; unacknowledged it sends a client 100 all the same."""

START_S = 20.0
"""How long it may take until it listens."""

_SETTINGS = """\
id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 16777216
max_segment_count = 8

[v5.1]
name = "mqtt-5"
listen = "127.0.0.1:{v5}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = 262144
max_inflight_count = {inflight}

[v4.1]
name = "mqtt-3.1.1"
listen = "127.0.0.1:{v311}"
next_connection_delay_ms = 1
[v4.1.connections]
connection_timeout_ms = 10000
max_payload_size = 262144
max_inflight_count = {inflight}
"""


class EmbeddedBroker:
    """A broker that has been started; it ends with its crew.

    Parameters
    ----------
    crew
        Whose child it becomes.
    folder
        Where its settings file is written.

    Attributes
    ----------
    port, port_311
        The loopback ports for MQTT 5 and for MQTT 3.1.1.

    Raises
    ------
    UnsupportedError
        When iotcore is not installed.
    UnreachableError
        When it does not come up.
    """

    def __init__(self, crew: Crew, folder: Path) -> None:
        if importlib.util.find_spec("iotcore") is None:
            raise UnsupportedError(
                "The embedded broker needs iotcore; run: pip install 'headwater[simulator]', or "
                "name a broker of your own with --broker."
            )
        self.port, self.port_311 = free_ports(2)
        settings = folder / "broker.toml"
        settings.write_text(
            _SETTINGS.format(v5=self.port, v311=self.port_311, inflight=MAX_INFLIGHT)
        )
        arguments = ("-m", "iotcore", "--config", str(settings), "--log-level", "critical")
        self.process = crew.start("broker", [sys.executable, *arguments], catches_sigterm=False)
        self._wait()

    @property
    def url(self) -> str:
        """The address for MQTT 5."""
        return f"mqtt://127.0.0.1:{self.port}"

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while not (listens(self.port) and listens(self.port_311)):
            if self.process.exit_code is not None or time.monotonic() > deadline:
                raise UnreachableError(f"The embedded broker did not start:\n{self.process.tail()}")
            time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Return different loopback ports that nothing listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(_bound()) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


def listens(port: int) -> bool:
    """Say whether something accepts connections on a loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def _bound() -> Iterator[socket.socket]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe
