"""A coordinator with real books and weights, and devices that answer when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater import wire
from headwater.objects import Vector
from headwater.settings import Duration
from headwater_coordinator.coordinator import Coordinator
from headwater_coordinator.database import Database
from headwater_coordinator.home import Home
from headwater_coordinator.initialise import Wishes, initialise
from headwater_coordinator.link import Arrival, Outgoing
from headwater_coordinator.location import SQLITE
from headwater_coordinator.registry import Registry
from headwater_coordinator.settings import Gate, Rounds, Settings
from headwater_coordinator.status import Status, read_status
from headwater_models.arrays import packed_size
from headwater_models.bundle import Bundle

Floats = NDArray[np.float32]

START = 1_700_000_000_000
SETTINGS = Settings(
    federation=Rounds(
        min_devices=2,
        deadline=Duration(60_000),
        pause=Duration(1_000),
        check_in=Duration(600_000),
        message_ttl=Duration(600_000),
        weight_cap=100,
    ),
    gate=Gate(min_evaluators=1, deadline=Duration(60_000)),
)


@dataclass
class Mailbox:
    """A link whose messages wait until a test moves them."""

    online: set[str] = field(default_factory=set)
    sent: list[Outgoing] = field(default_factory=list)
    arrived: list[Arrival] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    def nodes(self) -> frozenset[str]:
        return frozenset(self.online)

    def push(self, batch: Sequence[Outgoing]) -> list[str]:
        self.sent += [one for one in batch if one.node in self.online]
        return [one.ask for one in batch if one.node not in self.online]

    def pull(self) -> list[Arrival]:
        arrived, self.arrived = self.arrived, []
        return arrived

    def forget(self, ask: str) -> None:
        self.forgotten.append(ask)


class World:
    """One coordinator, its folder, and its mailbox.

    Parameters
    ----------
    folder
        An empty folder of the test's.
    bundle
        Saved, unsigned.
    database
        Where its books lie.
    """

    def __init__(
        self, folder: Path, bundle: Path, settings: Settings = SETTINGS, database: str = SQLITE
    ) -> None:
        self.home = Home(folder / "home")
        self.bundle = initialise(self.home, Wishes(bundle=bundle, database=database), START)
        self.size = packed_size(self.bundle.manifest)
        self.settings = settings
        self.mail = Mailbox()
        self.now = START
        self.sequences: dict[str, int] = {}
        self.database: Database
        self.coordinator: Coordinator
        self._open()

    def _open(self) -> None:
        self.database = Database(self.home.books)
        self.database.rounds.interrupt(self.now)
        self.coordinator = Coordinator(
            home=self.home,
            settings=self.settings,
            bundle=self.bundle,
            database=self.database,
            link=self.mail,
            rng=np.random.default_rng(self.now),
        )

    def restart(self) -> None:
        """Do what kill -9 and a new run do: nothing that was not written is known any more."""
        self.database.close()
        self.mail = Mailbox(online=self.mail.online)
        self._open()

    def turn(self, milliseconds: int = 500) -> None:
        """Let time pass and the coordinator look."""
        self.now += milliseconds
        self.coordinator.turn(self.now)

    def close(self) -> None:
        self.database.close()

    # What a test looks at

    @property
    def status(self) -> Status:
        return read_status(self.home.books, limit=1_000)

    def weights(self, version: str) -> Floats:
        """The packed vector of a version on disk."""
        return Registry(self.home.versions, self.bundle.manifest).packed(version)

    def refusals(self) -> list[str]:
        return [refusal.reason for refusal in self.status.refusals]

    def waiting(self, kind: wire.Kind) -> list[Outgoing]:
        """The tasks of a kind that devices have and have not answered."""
        return [one for one in self.mail.sent if one.kind is kind]

    # What devices do

    def drift(self, device: str, *, alarms: int, retrain: bool) -> None:
        """A device is asked how it is doing, and speaks of drift."""
        self.turn(int(self.settings.federation.check_in))
        for task in self.waiting(wire.Kind.CHECK_IN):
            said = self.checked_in(task)
            if name(task.node) == device:
                said = msgspec.structs.replace(said, alarms=alarms, retrain=retrain)
            self.answer(task, said)
        self.turn()

    def join(self, *devices: str) -> None:
        """Devices appear, say who they are, and run the first version."""
        self.mail.online |= {node(device) for device in devices}
        self.turn()
        for task in self.waiting(wire.Kind.CHECK_IN):
            self.answer(task, self.checked_in(task))
        self.turn()

    def answer(self, task: Outgoing, reply: wire.Reply, vector: Vector | None = None) -> None:
        """A device answers a task."""
        if task in self.mail.sent:
            self.mail.sent.remove(task)
        self.mail.arrived.append(Arrival(task.ask, wire.encode(reply), vector))

    def lose(self, task: Outgoing) -> None:
        """A device goes away with a task; Flower says so."""
        self.mail.sent.remove(task)
        self.mail.arrived.append(Arrival(task.ask, failure="Flower: node is gone", lost=True))

    def take_release(self) -> None:
        """Every device takes the release that it was offered."""
        for task in self.waiting(wire.Kind.RELEASE):
            self.answer(task, self.received(task))
        self.turn()

    def checked_in(self, task: Outgoing, version: str = "") -> wire.CheckedIn:
        return wire.CheckedIn(
            device=name(task.node),
            model=self.bundle.model_id,
            version=version or self.bundle.version_id,
            sequence=1,
            examples=100,
        )

    def received(self, task: Outgoing) -> wire.Received:
        asked = wire.decode_task(task.fields)
        assert isinstance(asked, wire.Release)
        return wire.Received(device=name(task.node), version=asked.version, accepted=True)

    def update(self, task: Outgoing, **changes: object) -> wire.Update:
        asked = wire.decode_task(task.fields)
        assert isinstance(asked, wire.Train)
        sequence = self.sequences[task.node] = self.sequences.get(task.node, 0) + 1
        fields: dict[str, object] = {
            "task": asked.task,
            "device": name(task.node),
            "model": asked.model,
            "base": asked.base,
            "sequence": sequence,
            "examples": 50,
            "loss_before": 1.0,
            "loss_after": 0.5,
            "data_until_ms": 0,
        }
        return wire.Update(**(fields | changes))  # type: ignore[arg-type]

    def evaluated(self, task: Outgoing, difference: float = -0.1) -> wire.Evaluated:
        asked = wire.decode_task(task.fields)
        assert isinstance(asked, wire.Evaluate)
        return wire.Evaluated(
            task=asked.task,
            device=name(task.node),
            candidate=asked.candidate,
            release=asked.release,
            rows=10,
            loss_candidate=1.0 + difference,
            loss_release=1.0,
            loss_baseline=2.0,
            difference_mean=difference,
            difference_m2=0.01,
        )

    def vector(self, value: float = 0.5) -> Floats:
        return np.full(self.size, value, np.float32)

    def train_all(self, value: float = 0.5) -> None:
        """Every device that was asked to train sends an update."""
        for task in self.waiting(wire.Kind.TRAIN):
            self.answer(task, self.update(task), self.vector(value))
        self.turn()

    def judge_all(self, difference: float = -0.1) -> None:
        """Every device that was asked to judge says how the candidate compares."""
        for task in self.waiting(wire.Kind.EVALUATE):
            self.answer(task, self.evaluated(task, difference))
        self.turn()


def node(device: str) -> str:
    """The fingerprint that stands for a device's key here."""
    return f"SHA256:{device}"


def name(fingerprint: str) -> str:
    """The device's name, from :func:`node`."""
    return fingerprint.removeprefix("SHA256:")


def save_bundle(folder: Path, bundle: Bundle) -> Path:
    """Put a bundle where a coordinator can be made from it."""
    path = folder / "bundle"
    bundle.save(path)
    return path
