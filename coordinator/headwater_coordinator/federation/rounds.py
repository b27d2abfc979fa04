"""Synchronous rounds: ask, gather, merge, judge, release or refuse, and again, without an end.

::

    WAITING --enough devices--> TRAINING --enough answers, or deadline--> CANDIDATE
       ^ ^                          | too few updates                         |
       | +--------------------------+                                         |
       +------------------------- released or refused ------------------------+

With over-selection more devices are asked than answers are wanted. Who comes after the round is
closed is not lost: the update stays pending for the next candidate.

Nothing here is lost by a restart: it begins in CANDIDATE when one is open, otherwise in WAITING;
updates accepted earlier stay pending and are merged with the next round's. When a contribution of
statistics was erased, WAITING goes to CANDIDATE at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from math import ceil
from typing import Literal

from headwater import wire
from headwater_coordinator.events import Close, Effect, Open
from headwater_coordinator.federation.candidacy import Candidacy
from headwater_coordinator.federation.discipline import Standing, Training
from headwater_coordinator.federation.fleet import Asked, Fleet, share
from headwater_coordinator.federation.tally import Tally
from headwater_coordinator.settings import Rounds
from headwater_coordinator.state import Device, State


class Phase(StrEnum):
    """Where a round stands."""

    WAITING = "waiting"
    TRAINING = "training"
    CANDIDATE = "candidate"


class SynchronousRounds:
    """The discipline of rounds.

    Parameters
    ----------
    state, fleet, candidacy
        Shared with the rest of the core.
    training
        What a device is asked to do.
    settings
        How a round is held.
    """

    def __init__(
        self,
        state: State,
        fleet: Fleet,
        candidacy: Candidacy,
        training: Training,
        settings: Rounds,
    ) -> None:
        self._state = state
        self._fleet = fleet
        self._candidacy = candidacy
        self._training = training
        self._settings = settings
        self._tally = Tally()
        self._wanted = 0
        self._opens_ms = 0
        self.phase = Phase.WAITING if candidacy.none else Phase.CANDIDATE
        self._advance: dict[Phase, Callable[[int], Iterator[Effect]]] = {
            Phase.WAITING: self._waiting,
            Phase.TRAINING: self._gathering,
            Phase.CANDIDATE: self._judged,
        }

    @property
    def standing(self) -> Standing:
        """How far the round is."""
        tally = self._tally
        return Standing(
            phase=self._candidacy.stage if self.phase is Phase.CANDIDATE else self.phase,
            asked=tally.asked,
            open=len(tally.open),
            accepted=tally.accepted,
            wanted=self._wanted,
        )

    @property
    def due_ms(self) -> int | None:
        """When something is to be done if nothing comes."""
        match self.phase:
            case Phase.WAITING:
                return self._opens_ms if self._enough else None
            case Phase.TRAINING:
                return self._tally.deadline_ms
            case Phase.CANDIDATE:
                return self._candidacy.due_ms

    def settled(self, asked: Asked, outcome: wire.Reply | None, *, refused: bool) -> None:
        """Count an answer, unless it is to a round that is closed."""
        self._tally.settle(asked.ask, outcome, refused=refused)

    def hasten(self) -> None:
        """Open the next round without waiting for the pause to end."""
        self._opens_ms = 0

    def advance(self, now: int) -> Iterator[Effect]:
        """Do what the phase and the time ask for."""
        yield from self._advance[self.phase](now)

    @property
    def _enough(self) -> bool:
        return len(self._fleet.trainable) >= self._settings.min_devices

    def _waiting(self, now: int) -> Iterator[Effect]:
        """Open a round where it is time.

        After an erasure the next candidate is made at once, from what the others have given.
        """
        if self._state.erased:
            self._state.round += 1
            self._tally = Tally()
            yield Open(self._state.round, self._state.release.name, 0)
            yield from self._close("merged")
        elif now >= self._opens_ms and self._enough:
            yield from self._open(now)

    def _open(self, now: int) -> Iterator[Effect]:
        settings = self._settings
        ready = len(self._fleet.trainable)
        self._wanted = share(ready, settings.fraction, settings.min_devices, settings.max_devices)
        chosen = self._fleet.select(min(ready, ceil(self._wanted * settings.over_selection)))
        self._state.round += 1
        self._tally = Tally(deadline_ms=now + settings.deadline)
        yield Open(self._state.round, self._state.release.name, len(chosen))
        patience = min(settings.message_ttl, 2 * settings.deadline)
        yield from self._fleet.commission(self._tasks(chosen), now, patience=patience)
        self.phase = Phase.TRAINING

    def _tasks(self, devices: Iterable[Device]) -> Iterator[tuple[Device, wire.Train]]:
        for device in devices:
            name, release = self._fleet.new_task(), self._state.release.name
            self._tally.ask(name)
            yield device, self._training.task(name, release, self._state.round)

    def _gathering(self, now: int) -> Iterator[Effect]:
        if self._tally.accepted < self._wanted and not self._tally.due(now):
            return
        enough = len(self._state.pending) >= self._settings.min_devices
        if enough and self._tally.accepted:
            yield from self._close("merged")
        else:
            yield from self._close("void")
            self._rest(now)

    def _close(self, outcome: Literal["merged", "void"]) -> Iterator[Effect]:
        """Book a round, and merge all that is pending unless it is void."""
        yield close(self._state.round, self._tally, outcome)
        if outcome == "merged":
            self.phase = Phase.CANDIDATE
            yield from self._candidacy.merge()

    def _judged(self, now: int) -> Iterator[Effect]:
        yield from self._candidacy.advance(now)
        if self._candidacy.none:
            self._rest(now)

    def _rest(self, now: int) -> None:
        self.phase = Phase.WAITING
        self._opens_ms = now + self._settings.pause


def close(number: int, tally: Tally, outcome: Literal["merged", "void"]) -> Close:
    """Say what came of a round; who has not answered counts as failed."""
    return Close(
        number,
        tally.asked,
        tally.accepted,
        tally.refused,
        tally.declined,
        tally.failed + len(tally.open),
        outcome,
    )
