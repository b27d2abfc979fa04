"""The shell around the core: messages become events, effects become deeds."""

from __future__ import annotations

import logging
from collections import deque
from typing import assert_never

import numpy as np

from headwater import wire
from headwater.errors import PeerError
from headwater_coordinator import events as e
from headwater_coordinator.core import Federation
from headwater_coordinator.database import Database
from headwater_coordinator.home import Home
from headwater_coordinator.link import Arrival, Link, Outgoing
from headwater_coordinator.merging import merge
from headwater_coordinator.registry import KEPT, Registry
from headwater_coordinator.rounds import Training
from headwater_coordinator.settings import Settings
from headwater_coordinator.state import Version
from headwater_models.arrays import packed_size
from headwater_models.bundle import Bundle
from headwater_models.identity import version_id
from headwater_models.keys import SigningKey
from headwater_models.signing import sign_version

_KINDS: dict[type[wire.Task], wire.Kind] = {
    wire.CheckIn: wire.Kind.CHECK_IN,
    wire.Train: wire.Kind.TRAIN,
    wire.Evaluate: wire.Kind.EVALUATE,
    wire.Release: wire.Kind.RELEASE,
}

_log = logging.getLogger(__name__)


class Coordinator:
    """Carries out what the core asks for, one event at a time.

    Parameters
    ----------
    home
        The coordinator's folder.
    settings, bundle
        Read from it.
    database
        Its books; this is their only writer.
    link
        The way to the devices.
    rng
        Source of task names and of who is chosen.
    """

    def __init__(
        self,
        *,
        home: Home,
        settings: Settings,
        bundle: Bundle,
        database: Database,
        link: Link,
        rng: np.random.Generator,
    ) -> None:
        self._manifest = bundle.manifest
        self._model = bundle.model_id
        self._database = database
        self._link = link
        self._registry = Registry(home.versions, bundle.manifest)
        self._key = SigningKey.load(home.release_key)
        self._outbox: list[Outgoing] = []
        self._federation = Federation(
            database.load(), training(bundle, settings), packed_size(bundle.manifest), settings, rng
        )

    def turn(self, now: int) -> None:
        """Look once at everything that may have happened, and do what follows from it."""
        for arrival in self._link.pull():
            self._handle(_event(arrival), now)
        self._handle(e.Seen(self._link.nodes()), now)
        self._handle(e.Ticked(), now)
        self._send(now)

    def _send(self, now: int) -> None:
        batch, self._outbox = self._outbox, []
        for ask in self._link.push(batch):
            self._handle(e.Failed(ask, "The message could not be sent."), now)

    def _handle(self, event: e.Event, now: int) -> None:
        """Feed an event, and the answers to the effects that it leads to."""
        events = deque([event])
        while events:
            for effect in self._federation.feed(events.popleft(), now):
                answer = self._carry_out(effect, now)
                if answer is not None:
                    events.append(answer)

    def _carry_out(self, effect: e.Effect, now: int) -> e.Event | None:
        """Do what an effect says; return the event that answers it, where one does."""
        match effect:
            case e.Ask():
                self._ask(effect)
            case e.Merge():
                return self._merge(effect, now)
            case e.Release():
                return self._release(effect, now)
            case e.Reject():
                self._reject(effect, now)
            case e.Forget(ask):
                self._link.forget(ask)
            case _:
                self._write(effect, now)
        return None

    def _write(self, effect: e.Note | e.Accept | e.Refuse | e.Open | e.Close, now: int) -> None:
        match effect:
            case e.Note(device):
                self._database.note(device)
            case e.Accept():
                self._database.accept(effect, now)
            case e.Refuse():
                _log.warning("refused from %s: %s", effect.device or effect.node, effect.reason)
                self._database.refuse(effect, now)
            case e.Open():
                _log.info("round %d: %d devices asked", effect.round, effect.asked)
                self._database.open_round(effect, now)
            case e.Close():
                _log.info("round %d: %s, %d updates", effect.round, effect.outcome, effect.accepted)
                self._database.close_round(effect, now)
            case _:
                assert_never(effect)

    def _ask(self, effect: e.Ask) -> None:
        vector = None if effect.arrays is None else self._registry.packed(effect.arrays)
        self._outbox.append(
            Outgoing(
                ask=effect.ask,
                node=effect.node,
                kind=_KINDS[type(effect.task)],
                fields=wire.encode(effect.task),
                vector=vector,
                ttl_s=effect.ttl_ms / 1000,
            )
        )

    def _merge(self, effect: e.Merge, now: int) -> e.Merged:
        """Make the candidate: weights on disk first, then the books."""
        base = effect.base
        release = self._registry.load(base.name)
        arrays = merge(self._manifest, release, self._database.vectors(effect.updates))
        name = version_id(self._manifest, self._model, arrays)
        new = not self._database.is_release(name)
        statement = sign_version(
            self._key,
            kind="candidate",
            model=self._model,
            version=name,
            sequence=base.sequence + 1,
            parent=base.name,
        )
        candidate = Version(name, base.sequence + 1, base.name, statement)
        if new:
            self._registry.save(name, arrays)
        self._database.merged(effect, candidate, new=new, now=now)
        return e.Merged(candidate if new else None)

    def _release(self, effect: e.Release, now: int) -> e.Released:
        candidate = effect.candidate
        statement = sign_version(
            self._key,
            kind="release",
            model=self._model,
            version=candidate.name,
            sequence=candidate.sequence,
            parent=candidate.parent,
        )
        version = Version(candidate.name, candidate.sequence, candidate.parent, statement)
        merged = self._database.release(version, effect.decision, now)
        self._registry.prune(self._database.recent(KEPT))
        _log.info("release %d %s %s", version.sequence, version.name[:12], effect.decision.words)
        return e.Released(version, merged)

    def _reject(self, effect: e.Reject, now: int) -> None:
        _log.info("candidate %s %s", effect.candidate.name[:12], effect.decision.words)
        self._database.reject(effect.candidate, effect.decision, now)
        self._registry.prune(self._database.recent(KEPT))


def training(bundle: Bundle, settings: Settings) -> Training:
    """Put together what devices are asked to do: the settings', else the manifest's."""
    rounds, optimiser = settings.federation, bundle.manifest.optimiser
    return Training(
        model=bundle.model_id,
        epochs=rounds.epochs,
        batch=rounds.batch or optimiser.batch,
        learning_rate=rounds.learning_rate or optimiser.learning_rate,
    )


def _event(arrival: Arrival) -> e.Event:
    if arrival.failure:
        return e.Failed(arrival.ask, arrival.failure, "lost" if arrival.lost else "unreadable")
    try:
        reply = wire.decode_reply(arrival.fields)
    except PeerError as error:
        return e.Failed(arrival.ask, str(error), "unreadable")
    return e.Replied(arrival.ask, reply, arrival.vector)
