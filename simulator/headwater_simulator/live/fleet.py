"""A coordinator and devices as real processes on loopback."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from headwater.errors import HeadwaterError, StorageError, UnreachableError
from headwater.wire import CheckedIn
from headwater_agent.agent_reader import AgentReader
from headwater_agent.correspondence import CONNECTION
from headwater_agent.exchange import ExchangeReader
from headwater_agent.folders import make_folders
from headwater_agent.live import LiveReport
from headwater_agent.nodekey import make_key
from headwater_agent.scores import Score
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.standing import read_standing
from headwater_coordinator.enrolment import fingerprint, read_public_key, remember
from headwater_coordinator.home import Home
from headwater_coordinator.initialise import Wishes, initialise
from headwater_coordinator.requests import Request, write_request
from headwater_coordinator.status import Status, read_status
from headwater_models.bundle import Bundle
from headwater_models.manifest import Manifest
from headwater_simulator.broker import free_ports
from headwater_simulator.processes import Child, Crew

PREFIX = "air"
"""First level of all topics, where nobody else uses the broker."""

START_S = 80.0
START_S_PER_DEVICE = 8.0
"""How long coordinator and devices may take to find one another: the two programs of a device need
four seconds of a processor until then, and others may use it, too."""

_COORDINATOR = """\
[front]
port = {port}

[superlink]
port = {superlink_port}
poll = "200ms"

{federating}"""

_DEMO = """\
[federation]
min_devices = {min_devices}
deadline = "30s"
pause = "1s"
check_in = "5s"

[gate]
deadline = "30s"
"""

STORE = """\
[store]
commit_every = "200ms"
commit_records = 50  # the embedded broker sends at most 100 unacknowledged
"""

_AGENT = """\
device = "{device}"
bundle = {bundle}
clock = "trusted"

[trust]
publisher = "{publisher}"

[broker]
url = "{broker}"
client_id = "{prefix}-{device}"

[output]
topic = "{prefix}/headwater/{{device}}/{{stream}}/prediction"
status = "{prefix}/headwater/{{device}}/status"

[input]
pattern = "{topic}"
time = {{ field = "time", format = "ms" }}

[federation]
enabled = true
coordinator = "{coordinator}"
{authority}
poll = "1s"

{more}"""

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Planned:
    """A device that is to be: its name, the topic below the prefix, and more of its settings.

    ``group`` is the one that the coordinator's owner puts it into; empty: none.
    """

    name: str
    topic: str
    more: str = STORE
    group: str = ""


def at_stations(stations: Sequence[str]) -> list[Planned]:
    """Plan a device for each station, whose name is the topic's last level."""
    return [Planned(f"device-{i}", station) for i, station in enumerate(stations, start=1)]


def eager(devices: int) -> str:
    """Return coordinator settings with which so many devices federate all the time."""
    return _DEMO.format(min_devices=min(2, devices))


@dataclass(frozen=True, slots=True, eq=False)
class LiveDevice:
    """One device of the fleet and its two processes."""

    settings: AgentSettings
    settings_file: Path
    agent: Child
    client: Child

    def checked_in(self) -> CheckedIn | None:
        """Return what the agent says of itself; None before it does."""
        return _read(self.settings.share / "status.json", CheckedIn)

    def score(self, manifest: Manifest) -> Score | None:
        """Return how its predictions did so far, by its store; None where it has none yet."""
        if not self.settings.agent_db.exists():
            return None
        reader = AgentReader(self.settings.agent_db, manifest)
        try:
            return read_standing(reader.standing()).score
        finally:
            reader.close()

    def live(self) -> LiveReport | None:
        """Return the agent's rates and latencies; None before there are any."""
        return _read(self.settings.agent_db.parent / "live.json", LiveReport)

    def sent(self) -> tuple[int, int]:
        """Return how many answers the coordinator got so far, and their bytes, by the ledger."""
        totals = ExchangeReader(self.settings.exchange_db).totals()
        answers = [one for one in totals if one.kind != CONNECTION]
        return sum(one.count for one in answers), sum(one.bytes for one in answers)

    def bytes_out(self) -> int:
        """Return the bytes of :meth:`sent`."""
        return self.sent()[1]


class LiveFleet:
    """A coordinator with the devices that it lets in.

    Parameters
    ----------
    crew
        Whose children they become.
    folder
        An empty folder for everything they keep.
    bundle
        The model, not signed yet.
    broker
        ``mqtt://HOST:PORT``.
    planned
        The devices that are there from the beginning; others :meth:`join`.
    now
        UTC milliseconds.
    prefix
        First level of all topics, and the beginning of the names at the broker.
    federating
        The coordinator's settings but for its ports.
    through
        Makes of the coordinator's URL and the authority's file the URL that devices are told
        (a test listens in between); without it, the URL itself.
    """

    def __init__(
        self,
        crew: Crew,
        folder: Path,
        bundle: Path,
        *,
        broker: str,
        planned: Sequence[Planned],
        now: int,
        prefix: str = PREFIX,
        federating: str | None = None,
        through: Callable[[str, Path], str] | None = None,
    ) -> None:
        self._crew = crew
        self._folder = folder
        self._broker = broker
        self._prefix = prefix
        port, superlink_port = free_ports(2)
        self.home = Home(folder / "coordinator")
        wishes = Wishes(bundle=bundle, port=port, superlink_port=superlink_port)
        self.bundle: Bundle = initialise(self.home, wishes, now)
        self.home.settings.write_text(
            _COORDINATOR.format(
                port=port,
                superlink_port=superlink_port,
                federating=eager(len(planned)) if federating is None else federating,
            )
        )
        self._url = f"https://127.0.0.1:{port}"
        if through is not None:
            self._url = through(self._url, self.home.authority)
        files = [self._prepare(one) for one in planned]
        self.coordinator = crew.start(
            "coordinator", _command("coordinator", "serve", "--home", str(self.home.root))
        )
        self.devices = [self._start(file) for file in files]
        self._stopped: set[Child] = set()

    def join(self, planned: Planned) -> LiveDevice:
        """Let a further device in, and start it."""
        made = self._start(self._prepare(planned))
        self.devices.append(made)
        return made

    def status(self) -> Status | None:
        """Return the coordinator's books; None before there are any."""
        try:
            return read_status(self.home.database)
        except StorageError:
            return None

    def wait(self) -> None:
        """Return once every agent is connected and every device is known to the coordinator.

        Raises
        ------
        UnreachableError
            When a part ends or it takes too long, with the end of a log.
        """
        patience_s = START_S + START_S_PER_DEVICE * len(self.devices)
        deadline = time.monotonic() + patience_s
        while not self._together():
            self.check()
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"The fleet did not come together within {patience_s:g} seconds:\n"
                    f"{self.coordinator.tail()}"
                )
            time.sleep(0.2)

    def check(self) -> None:
        """Raise UnreachableError where a part has ended although nobody stopped it.

        Coordinator and devices never end by themselves; others of the crew may, with 0.
        """
        own = {self.coordinator, *(c for d in self.devices for c in (d.agent, d.client))}
        for child in self._crew.dead():
            if child in self._stopped or (child.exit_code == 0 and child not in own):
                continue
            raise UnreachableError(
                f"{child.name} ended with exit code {child.exit_code}:\n{child.tail()}"
            )

    def stop(self) -> list[Child]:
        """Stop all of the crew; return those that did not end as they should.

        What :meth:`kill` ended is none of them.
        """
        return [child for child in self._crew.stop() if child not in self._stopped]

    def kill(self, device: LiveDevice, *, agent: bool) -> None:
        """End the agent or the federation client of a device without a warning."""
        child = device.agent if agent else device.client
        self._stopped.add(child)
        child.kill()

    def restart(self, device: LiveDevice, *, agent: bool) -> LiveDevice:
        """Start the agent or the federation client of a device again after its end."""
        part = "run" if agent else "federate"
        child = device.agent if agent else device.client
        self._stopped.discard(child)
        command = _command("agent", part, "--settings", str(device.settings_file))
        again = self._crew.again(child, command)
        made = LiveDevice(
            device.settings,
            device.settings_file,
            again if agent else device.agent,
            device.client if agent else again,
        )
        self.devices[self.devices.index(device)] = made
        return made

    def _together(self) -> bool:
        status = self.status()
        online = sum(device.online for device in status.devices) if status else 0
        live = [device.live() for device in self.devices]
        return online == len(self.devices) and all(item and item.connected for item in live)

    def _prepare(self, planned: Planned) -> Path:
        """Write a device's settings, make its key, and let it in."""
        folder = self._folder / planned.name
        folder.mkdir()
        file = folder / "agent.toml"
        file.write_text(
            _AGENT.format(
                device=planned.name,
                bundle=msgspec.json.encode(str(self.home.bundle)).decode(),
                publisher=self.bundle.verify()[0].publisher,
                broker=self._broker,
                prefix=self._prefix,
                topic=f"{self._prefix}/{planned.topic}",
                coordinator=self._url,
                authority=self._trust(),
                more=planned.more,
            )
        )
        settings = load_settings(file, {})
        make_folders(settings)
        make_key(settings.exchange)
        key = read_public_key(settings.exchange / "node.pub")
        remember(self.home.nodes, key)
        if planned.group:
            asked = Request("group", node=fingerprint(key), group=planned.group, by="the scenario")
            write_request(self.home.requests, asked)
        return file

    def _trust(self) -> str:
        """Return the line that names the coordinator's authority; plain HTTP has none."""
        if self._url.startswith("http://"):
            return ""
        return f"ca = {msgspec.json.encode(str(self.home.authority)).decode()}"

    def _start(self, file: Path) -> LiveDevice:
        settings = load_settings(file, {})
        name = settings.device
        arguments = ("--settings", str(file))
        return LiveDevice(
            settings,
            file,
            self._crew.start(f"{name}-agent", _command("agent", "run", *arguments)),
            self._crew.start(f"{name}-client", _command("agent", "federate", *arguments)),
        )


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "headwater", *arguments]


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, HeadwaterError):
        return None
