"""Buffered asynchronous federation (FedBuff; with a buffer of one, FedAsync).

Devices train whenever they are free, at most ``concurrency`` at a time. As soon as ``buffer``
updates are pending, whatever release each of them started from, they are merged; devices go on
training while that candidate is judged, and what they send waits for the next one. How much an
update counts that started at an older release is the strategy's business.

A device is asked for no other update while one of its own is pending. So where fewer devices than
``buffer`` are there, a candidate is made when nobody is left to ask, from ``min_devices`` on.

What stands between two merges is booked as a round. A restart loses nothing: what is pending is
in the books, and whoever is free is asked anew.

References
----------
Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation, AISTATS 2022;
Xie et al., Asynchronous Federated Optimization, OPT 2020.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from headwater import wire
from headwater_coordinator.events import Effect, Open
from headwater_coordinator.federation.candidacy import Candidacy, Stage
from headwater_coordinator.federation.discipline import Standing, Training
from headwater_coordinator.federation.fleet import Asked, Fleet
from headwater_coordinator.federation.rounds import close
from headwater_coordinator.federation.tally import Tally
from headwater_coordinator.settings import Buffered
from headwater_coordinator.state import Device, State


class BufferedAsynchronous:
    """The discipline without rounds.

    Parameters
    ----------
    state, fleet, candidacy
        Shared with the rest of the core.
    training
        What a device is asked to do.
    settings
        How many train, and how many updates make a candidate.
    """

    def __init__(
        self,
        state: State,
        fleet: Fleet,
        candidacy: Candidacy,
        training: Training,
        settings: Buffered,
    ) -> None:
        self._state = state
        self._fleet = fleet
        self._candidacy = candidacy
        self._training = training
        self._settings = settings
        self._tally = Tally()
        self._opened = False

    @property
    def in_flight(self) -> int:
        """How many devices train."""
        return len(self._tally.open)

    @property
    def standing(self) -> Standing:
        """How full the buffer is."""
        return Standing(
            phase="gathering" if self._candidacy.none else self._candidacy.stage,
            asked=self._tally.asked,
            open=self.in_flight,
            accepted=len(self._state.pending),
            wanted=self._settings.buffer,
        )

    @property
    def due_ms(self) -> int | None:
        """When something is to be done if nothing comes; a silent device's task is the fleet's."""
        return self._candidacy.due_ms

    def settled(self, asked: Asked, outcome: wire.Reply | None, *, refused: bool) -> None:
        """Count an answer; its device's place is free."""
        self._tally.settle(asked.ask, outcome, refused=refused)

    def hasten(self) -> None:
        """Do nothing: whoever is free trains anyway."""

    def advance(self, now: int) -> Iterator[Effect]:
        """See to the candidate, make one where it is time, and keep devices at work."""
        yield from self._candidacy.advance(now)
        if self._candidacy.none and self._full:
            yield from self._merge()
        if self._candidacy.stage is not Stage.WAITING:
            yield from self._commission(now)

    @property
    def _full(self) -> bool:
        """Whether a candidate is to be made."""
        pending = len(self._state.pending)
        nobody_left = not self.in_flight and not len(self._fleet.trainable)
        return (
            self._state.erased
            or pending >= self._settings.buffer
            or (nobody_left and pending >= self._settings.min_devices)
        )

    def _merge(self) -> Iterator[Effect]:
        """Book what came since the last merge; who trains goes on."""
        yield from self._open()
        yield close(self._state.round, replace(self._tally, open=set()), "merged")
        self._tally, self._opened = Tally(open=self._tally.open), False
        yield from self._candidacy.merge()

    def _commission(self, now: int) -> Iterator[Effect]:
        """Fill the free places."""
        free = self._settings.concurrency - self.in_flight
        chosen = self._fleet.select(free) if free > 0 else []
        if chosen:
            yield from self._open()
            patience = self._settings.deadline
            yield from self._fleet.commission(self._tasks(chosen), now, patience=patience)

    def _tasks(self, devices: Iterable[Device]) -> Iterator[tuple[Device, wire.Train]]:
        for device in devices:
            name, release = self._fleet.new_task(), self._state.release.name
            self._tally.ask(name)
            yield device, self._training.task(name, release, self._state.round)

    def _open(self) -> Iterator[Effect]:
        """Begin what is booked as a round, unless it has begun."""
        if not self._opened:
            self._opened = True
            self._state.round += 1
            yield Open(self._state.round, self._state.release.name, 0)
