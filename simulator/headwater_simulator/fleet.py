"""A fleet in one process: the agents' and the coordinator's own cores under a virtual clock.

Nothing is imitated but time and transport. A device runs the agent's pipeline, replay and
evaluation; the coordinator keeps its books, keys and versions in a real folder; between them
stands a link in memory that carries the encoded messages. What is due at an instant is done
before the clock moves on, so a run depends on its inputs and its seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np

from headwater import wire
from headwater_coordinator.coordinator import Coordinator
from headwater_coordinator.database import Database
from headwater_coordinator.home import Home
from headwater_coordinator.link import Arrival, MemoryLink, Outgoing, Responder
from headwater_coordinator.settings import Settings
from headwater_coordinator.status import Status, read_status
from headwater_models.bundle import Bundle
from headwater_simulator.device import VirtualDevice


class VirtualFleet:
    """A coordinator and its devices, all online all the time.

    Parameters
    ----------
    home
        A coordinator's folder as ``init`` makes it.
    settings
        The coordinator's; its durations are of the virtual clock.
    devices
        Who takes part.
    rng
        The coordinator's source of task names, from which all training orders follow.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        devices: Sequence[VirtualDevice],
        rng: np.random.Generator,
    ) -> None:
        self._answers = 0
        self._home = home
        self._database = Database(home.database)
        link = MemoryLink()
        link.devices = {device.name: self._responder(device) for device in devices}
        self._coordinator = Coordinator(
            home=home,
            settings=settings,
            bundle=Bundle.load(home.bundle),
            database=self._database,
            link=link,
            rng=rng,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def settle(self, now: int) -> None:
        """Let the coordinator do all that is due at a moment, UTC milliseconds, and its answers."""
        while True:
            answered = self._answers
            self._coordinator.turn(now)
            if self._answers == answered:
                return

    def status(self) -> Status:
        """Return what the coordinator has done so far."""
        return read_status(self._home.database)

    def _responder(self, device: VirtualDevice) -> Responder:
        def respond(message: Outgoing) -> Arrival:
            self._answers += 1
            reply, vector = device.answer(wire.decode_task(message.fields), message.vector)
            return Arrival(message.ask, wire.encode(reply), vector)

        return respond
