"""Simulated devices on the agent's own connection: they speak the protocol and learn a target."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater import wire
from headwater.errors import HeadwaterError
from headwater.objects import Vector
from headwater_agent.client import Delivered
from headwater_agent.flower import FleetConnection
from headwater_agent.nodekey import make_key, read_key
from headwater_models.arrays import pack, packed_size
from headwater_models.bundle import Bundle
from headwater_models.signing import VersionStatement, check_follows, later, verify_version

Floats = NDArray[np.float32]
Answer = tuple[wire.Reply, Vector | None]
Sent = tuple[wire.Reply | bytes, Floats | None]
Spoil = Callable[[wire.Reply, Floats | None], Sent]

ROWS = 10


class SimulatedDevice:
    """A device whose loss is the squared distance of the weights from a target.

    Parameters
    ----------
    name
        What it calls itself.
    folder
        Where its key lies.
    bundle
        The signed bundle that it was set up with.
    target
        float32 ``[n]``: where its data would lead the weights.
    spoil
        Changes an answer before it is sent, as a faulty or hostile device might; bytes are sent
        as they are.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        bundle: Bundle,
        target: Floats,
        spoil: Spoil = lambda reply, vector: (
            reply,
            vector,
        ),
    ) -> None:
        make_key(folder)
        self.name = name
        self.folder = folder
        self.public_key = folder / "node.pub"
        self.releases: list[VersionStatement] = []
        self.merged: list[int] = []
        self.errors: list[Exception] = []
        self.answered: list[wire.Kind] = []
        self._bundle = bundle
        self._trusted, current = bundle.verify()
        self._current: VersionStatement = current
        self._weights = {current.version: pack(bundle.manifest, bundle.weights)}
        self.target = target
        self._spoil = spoil
        self._sequence = 0
        self._leave = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name=name)
        self._url = ""
        self._ca = Path()

    def start(self, url: str, ca: Path) -> None:
        """Connect and answer until stopped."""
        self._url, self._ca = url, ca
        self._thread.start()

    def stop(self, *, leave: bool = True) -> None:
        """Hang up; without *leave* it vanishes, as a device does that loses power."""
        self._leave = leave
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(30)

    @property
    def version(self) -> str:
        """The version it runs."""
        return self._current.version

    def _live(self) -> None:
        connection = FleetConnection(
            self._url,
            read_key(self.folder / "node.key"),
            ca=self._ca,
            elements=packed_size(self._bundle.manifest),
            node_file=self.folder / "node.id",
            rng=Random(0),
        )
        opened = False
        while not self._stop.wait(0.1):
            try:
                if not opened:
                    connection.open()
                    opened = True
                delivered = connection.pull()
                if delivered is not None:
                    self._handle(connection, delivered)
            except HeadwaterError as error:
                self.errors.append(error)
        connection.close(leave=self._leave)

    def _handle(self, connection: FleetConnection, delivered: Delivered) -> None:
        connection.confirm()
        task = wire.decode_task(delivered.fields)
        reply, vector = self._spoil(*self._answer(task, delivered.array))
        fields = reply if isinstance(reply, bytes) else wire.encode(reply)
        connection.reply(delivered.flower, fields, vector)
        self.answered.append(delivered.kind)

    def _answer(self, task: wire.Task, array: Floats | None) -> Answer:
        said = getattr(task, "delegation", msgspec.UNSET)
        if said is not msgspec.UNSET:
            self._trusted = later(self._trusted, said)
        match task:
            case wire.CheckIn():
                return self._checked_in(), None
            case wire.Train():
                return self._trained(task)
            case wire.Evaluate():
                assert array is not None
                return self._evaluated(task, array), None
            case wire.Release():
                assert array is not None
                return self._received(task, array), None

    def _checked_in(self) -> wire.CheckedIn:
        return wire.CheckedIn(
            device=self.name,
            model=self._bundle.model_id,
            version=self._current.version,
            sequence=self._current.sequence,
            examples=ROWS,
        )

    def _trained(self, task: wire.Train) -> Answer:
        if task.base not in self._weights:
            return wire.Declined(device=self.name, task=task.task, reason="unknown-base"), None
        self._sequence += 1
        difference = (self.target - self._weights[task.base]) * np.float32(0.5)
        update = wire.Update(
            task=task.task,
            device=self.name,
            model=self._bundle.model_id,
            base=task.base,
            sequence=self._sequence,
            examples=ROWS,
            loss_before=1.0,
            loss_after=0.5,
            data_until_ms=0,
        )
        return update, difference

    def _evaluated(self, task: wire.Evaluate, candidate: Floats) -> wire.Evaluated:
        statement = verify_version(task.statement, trusted=self._trusted)
        assert (statement.kind, statement.version) == ("candidate", task.candidate)
        losses = self._loss(candidate), self._loss(self._weights[task.release])
        return wire.Evaluated(
            task=task.task,
            device=self.name,
            candidate=task.candidate,
            release=task.release,
            rows=ROWS,
            loss_candidate=losses[0],
            loss_release=losses[1],
            loss_baseline=1.0,
            difference_mean=losses[0] - losses[1],
            difference_m2=0.0,
        )

    def _loss(self, weights: Floats) -> float:
        return float(np.square(weights - self.target).sum())

    def _received(self, task: wire.Release, weights: Floats) -> wire.Received:
        statement = verify_version(task.statement, trusted=self._trusted)
        if statement != self._current:  # it is offered again where the answer was lost
            check_follows(self._current, statement)
            self.releases.append(statement)
            self.merged.append(task.merged)
        self._current = statement
        self._weights[statement.version] = weights
        return wire.Received(device=self.name, version=task.version, accepted=True)
