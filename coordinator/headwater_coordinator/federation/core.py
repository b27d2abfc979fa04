"""The core itself: events in, effects out.

It owns what all disciplines share: the firewall, which updates are accepted, which answer belongs
to which question. When to ask and merge is the discipline's business, what becomes of a candidate
the candidacy's, and what a person asks for that of the commands.

Its promises, whatever comes in whatever order, twice or never (a property test holds them): an
update enters at most one candidate; an accepted update is pending, superseded by a later one of
its device, or in exactly one candidate; the sequence of releases only grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

import numpy as np

from headwater import wire
from headwater.objects import Vector
from headwater_coordinator import events as e
from headwater_coordinator.cohort import Cohort
from headwater_coordinator.excerpt import Excerpt
from headwater_coordinator.federation.buffered import BufferedAsynchronous
from headwater_coordinator.federation.candidacy import Candidacy
from headwater_coordinator.federation.commands import Commands
from headwater_coordinator.federation.discipline import Discipline, Training
from headwater_coordinator.federation.fleet import Asked, Fleet
from headwater_coordinator.federation.rounds import SynchronousRounds
from headwater_coordinator.firewall import Expected, complaint, malformation
from headwater_coordinator.settings import Buffered, Settings
from headwater_coordinator.state import Device, Pending, State, Version
from headwater_models.manifest import Manifest

Effects = Sequence[e.Effect]
"""What is to be done about one answer, in order."""


class Federation:
    """One federation of one model.

    Parameters
    ----------
    state
        As restored from the database; the core changes it.
    training
        The model's id, and what devices are asked to do.
    manifest
        Of the model.
    settings
        Of the coordinator.
    rng
        Source of task names and of who is chosen.
    """

    def __init__(
        self,
        state: State,
        training: Training,
        manifest: Manifest,
        settings: Settings,
        rng: np.random.Generator,
    ) -> None:
        self.state = state
        self._model = training.model
        self._manifest = manifest
        self._settings = how = settings.federation
        self._fleet = Fleet(state, training.model, how, rng, spare=isinstance(how, Buffered))
        self._weighs = not manifest.statistics
        self._cohort = Cohort(settings.firewall, state.past)
        self._candidacy = Candidacy(state, self._fleet, training.model, settings.gate)
        self._commands = Commands(
            state,
            self._fleet,
            self._candidacy,
            statistics=bool(manifest.statistics),
            max_staleness=how.max_staleness,
            book=self._book,
        )
        shared = state, self._fleet, self._candidacy, training
        self.discipline: Discipline = (
            BufferedAsynchronous(*shared, how)
            if isinstance(how, Buffered)
            else SynchronousRounds(*shared, how)
        )

    @property
    def due_ms(self) -> int | None:
        """When a :class:`.events.Ticked` has something to do if nothing comes; None: never.

        UTC milliseconds; it may lie in the past, and a tick may find nothing to do after all.
        """
        dues = (self._fleet.due_ms, self.discipline.due_ms)
        return min((due for due in dues if due is not None), default=None)

    def feed(self, event: e.Event, now: int) -> Iterator[e.Effect]:
        """Take one event and yield what is to be done about it, in order.

        Parameters
        ----------
        event
            What happened.
        now
            UTC milliseconds; never goes back.
        """
        match event:
            case e.Replied():
                effects = self._answered([event], now)
            case e.Answered(replies):
                effects = self._answered(replies, now)
            case e.Appeared(nodes):
                effects = self._fleet.appeared(nodes, now)
            case e.Vanished(nodes):
                effects = self._fleet.vanished(nodes, now)
            case e.Failed():
                effects = iter(self._failed(event, now))
            case e.Merged(candidate):
                effects = self._merged(candidate, now)
            case e.Released(version, merged):
                effects = self._released(version, merged, now)
            case (
                e.ErasureAsked()
                | e.ReadmissionAsked()
                | e.Grouped()
                | e.ReleaseAsked()
                | e.CandidateDecided()
                | e.RollbackAsked()
            ):
                effects = self._commands.carry_out(event)
            case e.Ticked():
                effects = self._ticked(now)
            case _:
                assert_never(event)
        return effects

    def _ticked(self, now: int) -> Iterator[e.Effect]:
        for asked in self._fleet.expired(now):
            yield e.Forget(asked.ask)
            yield from self._lost(asked, now)
        yield from self._fleet.due(now)
        yield from self.discipline.advance(now)

    # Answers

    def _answered(self, replies: Sequence[e.Replied], now: int) -> Iterator[e.Effect]:
        found = self._fleet.answered([one.ask for one in replies])
        for event, asked in zip(replies, found, strict=True):
            if asked is not None:
                yield from self._replied(event, asked, now)

    def _replied(self, event: e.Replied, asked: Asked, now: int) -> Effects:
        reply, vector, device = event.reply, event.vector, asked.device
        device.protocol, device.seen_ms = reply.protocol, now
        effects: list[e.Effect] = []
        if event.digest and reply.protocol >= wire.RECEIPTS:
            kind, task = str(reply.__struct_config__.tag), getattr(reply, "task", None)
            effects.append(e.Receive(device.node, event.ask, kind, task, event.digest))
        if type(reply) is wire.Update:
            effects.append(e.Weigh(device.node, asked.round, event.size))
        refusal = self._refusal(asked, reply, vector, now)
        if refusal is None:
            effects += self._accepted(asked, reply, vector, now)
        else:
            effects += refusal, *self._settled(asked, reply, now, refused=True)
        return effects

    def _refusal(
        self, asked: Asked, reply: wire.Reply, vector: Vector | None, now: int
    ) -> e.Refuse | None:
        """Return why a reply must be refused: for what it is, or for what is usual here."""
        device = asked.device
        wrong, held = complaint(asked.task, reply, vector, self._expected(asked)), None
        if type(reply) is wire.Update:
            if wrong is None and vector is not None:
                wrong, held = self._judged(asked, device, reply, vector, now)
            if wrong is not None:
                wrong = self._cohort.refused(device.node, wrong, now)
        if wrong is None:
            return None
        return e.Refuse(device.node, device.name, asked.ask, type(reply).__name__, wrong, held)

    def _judged(
        self, asked: Asked, device: Device, reply: wire.Update, vector: Vector, now: int
    ) -> tuple[str | None, e.Held | e.Malformed | None]:
        """Return why an update is refused, and what is kept of it; of statistics nothing is."""
        wrong = malformation(reply, vector, self._manifest, self._cohort.norm)
        if not self._weighs:
            return wrong, None
        if wrong is not None:
            return wrong, e.Malformed(Excerpt.of(vector), asked.round, reply.sequence)
        wrong = self._cohort.complaint(reply, vector, device, now)
        return wrong, None if wrong is None else e.Held(reply, vector, asked.round)

    def _accepted(
        self, asked: Asked, reply: wire.Reply, vector: Vector | None, now: int
    ) -> Effects:
        device = asked.device
        match reply:
            case wire.Update():
                if vector is None:
                    return self._settled(asked, reply, now)
                device.duration_ms = now - asked.asked_ms
                accept = self._book(device, reply, vector, asked.round)
                return accept, *self._settled(asked, reply, now)
            case wire.Received():
                return self._received(asked, reply, now)
            case wire.CheckedIn():
                if reply.retrain and not device.retrain:
                    self.discipline.hasten()
                return (self._fleet.checked_in(device, reply, now),)
            case wire.Declined():
                return self._declined(asked, reply, now)
            case wire.Evaluated():
                return self._settled(asked, reply, now)
            case _:
                assert_never(reply)

    def _received(self, asked: Asked, reply: wire.Received, now: int) -> Effects:
        device = asked.device
        if not reply.accepted:
            refusal = self._untaken(asked, "no reason given")
            return refusal, *self._settled(asked, None, now)
        noted = self._fleet.received(device, reply, now)
        if asked.then is None:
            self._fleet.refresh(device)
            return (noted,)
        following = self._fleet.go_on(asked, now)
        return (noted, *(following or self._settled(asked, None, now)))

    def _declined(self, asked: Asked, reply: wire.Declined, now: int) -> Effects:
        if isinstance(asked.task, wire.Release):
            return self._untaken(asked, reply.reason), *self._settled(asked, reply, now)
        if reply.reason == "unknown-base":
            self._fleet.lacks_base(asked.device, now)
        return self._settled(asked, reply, now)

    def _untaken(self, asked: Asked, reason: str) -> e.Refuse:
        device = asked.device
        words = f"The device would not take the release ({reason})."
        return e.Refuse(device.node, device.name, asked.ask, "Release", words)

    def _book(self, device: Device, reply: wire.Update, vector: Vector, number: int) -> e.Accept:
        weight = min(reply.examples, self._settings.weight_cap)
        device.utility = weight * max(reply.loss_before, 0.0)
        self._fleet.trainable.learned(device)
        counted = reply.examples if self._manifest.statistics else weight
        pending = Pending(device.node, reply.base, reply.sequence, counted, reply.data_until_ms)
        self.state.pending[device.node] = pending
        device.taken = reply.sequence
        norm = self._cohort.accepted(reply, vector, device.node) if self._weighs else None
        return e.Accept(reply, pending, vector, number, norm)

    def _failed(self, event: e.Failed, now: int) -> Effects:
        (asked,) = self._fleet.answered([event.ask])
        if asked is None:
            return ()
        if event.kind == "lost":
            return self._lost(asked, now)
        device, kind, held = asked.device, type(asked.task).__name__, None
        keeps = isinstance(asked.task, wire.Train) and self._weighs and not device.forgotten
        if keeps and event.excerpt is not None:
            held = e.Malformed(event.excerpt, asked.round)
        refusal = e.Refuse(device.node, device.name, event.ask, kind, event.reason, held)
        return refusal, *self._settled(asked, None, now, refused=True)

    def _lost(self, asked: Asked, now: int) -> Effects:
        """Go on without an answer."""
        if isinstance(asked.goal.task, wire.Train):
            asked.device.unanswered += 1
        return self._settled(asked, None, now)

    def _settled(
        self, asked: Asked, outcome: wire.Reply | None, now: int, *, refused: bool = False
    ) -> Effects:
        """Let whoever waits know what came of a question, and the device rest if nothing did."""
        if type(asked.task) is wire.CheckIn:
            return ()
        device, goal = asked.device, asked.goal
        if refused or outcome is None or type(outcome) is wire.Declined:
            self._fleet.rest(device, now)
        elif type(outcome) is wire.Update:
            device.failures = 0
        self._fleet.refresh(device)
        if type(goal.task) is wire.Evaluate:
            self._candidacy.settled(goal, outcome, refused=refused)
        elif type(goal.task) is wire.Train:
            self.discipline.settled(goal, outcome, refused=refused)
            return (e.Note(device),)
        return ()

    def _merged(self, candidate: Version | None, now: int) -> Iterator[e.Effect]:
        self._candidacy.merged(candidate)
        yield from self.discipline.advance(now)

    def _released(
        self, version: Version, merged: Mapping[str, int], now: int
    ) -> Iterator[e.Effect]:
        self.state.release = version
        for node, sequence in merged.items():
            self.state.devices[node].merged = sequence
        self.state.sequences[version.name] = version.sequence
        self._fleet.offer(now)
        self._candidacy.released()
        yield from self._fleet.due(now)
        yield from self.discipline.advance(now)

    def _expected(self, asked: Asked) -> Expected:
        device, known = asked.device, True
        if type(asked.task) is wire.Train:
            staleness = self.state.staleness(asked.task.base)
            known = staleness is not None and staleness <= self._settings.max_staleness
        return Expected(
            device.node,
            device.name,
            device.taken,
            self._model,
            self._manifest,
            self.state.named,
            known,
            device.forgotten,
        )
