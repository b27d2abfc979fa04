"""The shell around the core: messages become events, effects become deeds."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, assert_never

import numpy as np

from headwater import wire
from headwater.errors import HeadwaterError, UnsupportedError
from headwater.objects import Vector
from headwater_coordinator import events as e
from headwater_coordinator.arrivals import read_arrival
from headwater_coordinator.database import Database
from headwater_coordinator.decisions import BY_GATE, Ruling
from headwater_coordinator.federation import Federation, Training
from headwater_coordinator.home import Home
from headwater_coordinator.link import Link, Outgoing
from headwater_coordinator.live import Board, Live
from headwater_coordinator.quarantine import Bounds
from headwater_coordinator.registry import KEPT, Registry
from headwater_coordinator.renewal import REVOKED, planned, put_in_force
from headwater_coordinator.requests import Request, find_requests, read_request
from headwater_coordinator.settings import Settings
from headwater_coordinator.state import Version
from headwater_coordinator.states import Remembered
from headwater_coordinator.strategies import FedProx, choose, merge_statistics, refuse_unfit
from headwater_coordinator.supplements import Supplements
from headwater_models.arrays import Arrays, pack, packed_size, unpack
from headwater_models.bundle import Bundle
from headwater_models.identity import version_id
from headwater_models.keys import SigningKey
from headwater_models.requested import Answer, settle, sweep
from headwater_models.signing import sign_version
from headwater_models.statistics import dependence

_KINDS: dict[type[wire.Task], wire.Kind] = {
    wire.CheckIn: wire.Kind.CHECK_IN,
    wire.Train: wire.Kind.TRAIN,
    wire.Evaluate: wire.Kind.EVALUATE,
    wire.Release: wire.Kind.RELEASE,
}

_HEEDED = {
    True: (logging.INFO, "%s, asked by %s: %s"),
    False: (logging.WARNING, "%s, asked by %s, was not done: %s"),
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
        self._strategy = choose(settings.strategy, source=str(home.settings))
        refuse_unfit(self._strategy, bundle.manifest)
        self._database = database
        self._link = link
        self._untaught = bundle.weights
        self._registry = Registry(home.versions, bundle.manifest)
        self._releases = settings.federation.max_staleness + 2
        self._home = home
        sweep(self._home.requests)
        self._ruling = BY_GATE
        self._answer = Answer(False, "")
        self._bounds = Bounds(settings.firewall.quarantine, settings.firewall.quarantine_bytes)
        self._key = SigningKey.load(home.release_key)
        proximal = self._strategy.terms if isinstance(self._strategy, FedProx) else {}
        self._supplements = Supplements(
            bundle.model_id,
            self._key,
            bundle.model_statement or "",
            terms={**proximal, **settings.update.terms},
            owed=database.receipts_for,
        )
        self._board = Board(home.live)
        self._discipline = str(settings.federation.__struct_config__.tag)
        self._outbox: list[Outgoing] = []
        self._online: frozenset[str] = frozenset()
        self._federation = Federation(
            database.load(), training(bundle, settings), bundle.manifest, settings, rng
        )

    def turn(self, now: int) -> None:
        """Look once at everything that may have happened, and do what follows from it."""
        for arrival in self._link.pull():
            self._handle(read_arrival(arrival, self._manifest), now)
        self._look_around(now)
        self._hear_requests(now)
        self._handle(e.Ticked(), now)
        self._send(now)
        self._board.show(
            Live.of(
                self._discipline,
                self._federation.state.round,
                len(self._online),
                self._federation.discipline.standing,
            ),
            now,
        )

    def _look_around(self, now: int) -> None:
        """Tell who came and who went since the last look."""
        before, self._online = self._online, self._link.nodes()
        if gone := before - self._online:
            self._handle(e.Vanished(gone), now)
        if came := self._online - before:
            self._handle(e.Appeared(came), now)

    def _hear_requests(self, now: int) -> None:
        """Do what commands asked for; a request stays until its effect is durable."""
        for path in find_requests(self._home.requests):
            try:
                request = read_request(path)
            except HeadwaterError as error:
                _log.warning("%s", error)
                settle(path, Answer(False, str(error)))
            else:
                settle(path, self._heed(request, now))

    def _heed(self, request: Request, now: int) -> Answer:
        """Do what a person asked for, in their name; say what became of it."""
        self._ruling = Ruling(request.by, request.reason)
        self._answer = Answer(False, "Nothing came of it.")
        try:
            if request.kind == "renew":
                self._renew(request, now)
            elif request.refusal is None:
                self._handle(request.event, now)
            else:
                self._decide_held(request.refusal, now, dropped=request.kind == "drop")
        finally:
            self._ruling = BY_GATE
        answer = self._answer
        _log.log(*_HEEDED[answer.done], request.kind, request.by, answer.text)
        return answer

    def _renew(self, request: Request, now: int) -> None:
        """Put a later statement of the publisher in force; devices hear of it from now on."""
        try:
            change, candidate = planned(self._home, request), self._federation.state.candidate
            if candidate is not None and not change.holds(candidate):
                self._handle(e.CandidateDecided(candidate.name, False, REVOKED), now)
            renewed = put_in_force(self._home, self._database, change, request.by, now)
        except HeadwaterError as error:
            self._answer = Answer(False, str(error))
            return
        self._key = renewed.key
        self._supplements.renew(renewed.key, request.statement)
        if renewed.release is not None:
            self._handle(e.Released(renewed.release, renewed.merged), now)
        self._answer = Answer(True, renewed.words)

    def _decide_held(self, refusal: int, now: int, *, dropped: bool) -> None:
        """Release an update from quarantine, or drop it."""
        kept = self._database.quarantine.find(refusal)
        if kept is None:
            self._answer = Answer(False, f"Update {refusal} is in quarantine no more.")
        elif dropped:
            self._database.drop_held(refusal, kept, self._ruling, now)
            words = f"An update of {kept.device} is removed; its refusal stays in the books."
            self._answer = Answer(True, words)
        elif kept.update is None:
            words = f"Update {refusal} of {kept.device} is malformed and can never be merged."
            self._answer = Answer(False, words)
        else:
            held = kept.node, kept.round, kept.update, kept.vector
            self._handle(e.ReleaseAsked(refusal, *held), now)

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
                return self._merged(effect, now)
            case e.Release():
                return self._release(effect, now)
            case e.Reject():
                self._reject(effect, now)
            case e.Rollback():
                return self._roll_back(effect, now)
            case e.Tell(done, words):
                self._answer = Answer(done, words)
            case e.Forget(ask):
                self._link.forget(ask)
            case _:
                self._write(effect, now)
        return None

    def _write(self, effect: e.Booked, now: int) -> None:
        match effect:
            case e.Note(device):
                self._database.note(device)
            case e.Receive():
                self._database.receive(effect, now)
            case e.Accept():
                holds_for = self._holds_for(effect.update.base)
                self._database.accept(effect, now, holds_for, ruling=self._ruling)
            case e.Erase() | e.Readmit() | e.Group():
                self._write_decided(effect, now)
            case e.Weigh():
                self._database.rounds.weigh(effect)
            case e.Refuse():
                _log.warning("refused from %s: %s", effect.device or effect.node, effect.reason)
                self._database.refuse(effect, now, self._bounds)
            case e.Open():
                _log.info("round %d: %d devices asked", effect.round, effect.asked)
                self._database.rounds.open(effect, now)
            case e.Close():
                _log.info("round %d: %s, %d updates", effect.round, effect.outcome, effect.accepted)
                self._database.rounds.close(effect, now)
            case _:
                assert_never(effect)

    def _write_decided(self, effect: e.Erase | e.Readmit | e.Group, now: int) -> None:
        """Write down what a person decided about a device."""
        match effect:
            case e.Erase(node):
                self._database.erase(node, self._ruling, now)
            case e.Readmit(node):
                self._database.readmit(node, self._ruling, now)
            case e.Group(device):
                self._database.group(device, self._ruling, now)

    def _ask(self, effect: e.Ask) -> None:
        vector = None if effect.arrays is None else self._registry.packed(effect.arrays)
        task = self._supplements.add(effect, self._federation.state.devices[effect.node])
        self._outbox.append(
            Outgoing(
                ask=effect.ask,
                node=effect.node,
                kind=_KINDS[type(task)],
                fields=wire.encode(task),
                vector=vector,
                ttl_s=effect.ttl_ms / 1000,
            )
        )

    def _merged(self, effect: e.Merge, now: int) -> e.Merged | e.Released:
        """Make the candidate: weights on disk first, then the books."""
        base, began = effect.base, time.monotonic()
        release = self._registry.load(base.name)
        try:
            arrays, shares, remembered = self._merge(effect, release)
        except UnsupportedError as error:
            _log.warning("round %d: %s", effect.round, error)
            self._database.drop(effect)
            return e.Merged(None)
        name = version_id(self._manifest, self._model, arrays)
        self._registry.save(name, arrays)
        made = Version(name, base.sequence + 1, base.name, "", effect.data_until_ms)
        if name != base.name and self._database.versions.is_release(name):
            version = self._signed("rollback", made)
            _log.info("round %d: back to version %s", effect.round, name[:12])
            merged = self._database.returned(effect, version, remembered, now)
            return e.Released(version, merged)
        candidate = self._signed("candidate", made)
        self._database.merged(
            effect,
            candidate,
            shares,
            remembered=remembered,
            new=name != base.name,
            took_ms=round((time.monotonic() - began) * 1000),
            now=now,
        )
        return e.Merged(candidate if name != base.name else None)

    def _merge(self, effect: e.Merge, release: Arrays) -> tuple[Arrays, list[int], Remembered]:
        """Return the merged arrays, of how many examples each share is, and the state after it.

        The state before it is the one of the release, so that a refused candidate leaves no trace.
        """
        strategy = type(self._strategy).__name__
        holds_for = self._holds_for(effect.base.name)
        if holds_for is not None:
            shares: list[int] = []
            given = self._statistics(holds_for, shares)
            arrays = merge_statistics(self._manifest, release, given, self._untaught)
            return arrays, shares, Remembered(strategy, {})
        state = self._database.states.of(effect.base.name, strategy)
        with self._database.reading(
            effect.updates,
            packed_size(self._manifest),
            staleness=self._staleness,
            packed=self._registry.packed,
        ) as updates:
            made = self._strategy.merge(pack(self._manifest, release), updates, state)
        if made.voteless:
            _log.warning("merged without the votes of %s", ", ".join(made.voteless))
        arrays = {**release, **unpack(self._manifest, made.vector)}
        return arrays, [one.weight for one in effect.updates], Remembered(strategy, made.state)

    def _statistics(self, holds_for: str, shares: list[int]) -> Iterator[Vector]:
        """Yield what devices have given, one at a time; note of how many examples each is."""
        for one in self._database.contributions.holding_for(holds_for):
            shares.append(one.examples)
            yield one.vector

    def _staleness(self, version: str) -> int:
        return self._federation.state.staleness(version) or 0

    def _holds_for(self, version: str) -> str | None:
        """Name the backbone that statistics of a version hold for; None where there are none."""
        if not self._manifest.statistics:
            return None
        return dependence(self._manifest, self._registry.load(version))

    def _signed(
        self, kind: Literal["candidate", "release", "rollback"], version: Version
    ) -> Version:
        statement = sign_version(
            self._key,
            kind=kind,
            model=self._model,
            version=version.name,
            sequence=version.sequence,
            parent=version.parent or None,
        )
        return replace(version, statement=statement)

    def _release(self, effect: e.Release, now: int) -> e.Released:
        candidate = effect.candidate
        version = self._signed("release", candidate)
        merged = self._database.release(version, effect.decision, now, by=self._ruling.by)
        self._registry.prune(self._database.versions.recent(KEPT, self._releases))
        _log.info("release %d %s %s", version.sequence, version.name[:12], effect.decision.words)
        return e.Released(version, merged)

    def _roll_back(self, effect: e.Rollback, now: int) -> e.Released:
        sequence = self._federation.state.release.sequence + 1
        older = self._database.versions.find(effect.version)
        version = self._signed("rollback", replace(older, sequence=sequence))
        ruling = Ruling(self._ruling.by, f"rolled back to by the owner: {effect.reason}")
        merged = self._database.rolled_back(version, ruling, now)
        _log.info("release %d %s %s", sequence, version.name[:12], ruling.words)
        return e.Released(version, merged)

    def _reject(self, effect: e.Reject, now: int) -> None:
        _log.info("candidate %s %s", effect.candidate.name[:12], effect.decision.words)
        self._database.reject(effect.candidate, effect.decision, now, by=self._ruling.by)
        self._registry.prune(self._database.versions.recent(KEPT, self._releases))


def training(bundle: Bundle, settings: Settings) -> Training:
    """Put together what devices are asked to do: the settings', else the manifest's."""
    rounds, optimiser = settings.federation, bundle.manifest.optimiser
    return Training(
        model=bundle.model_id,
        epochs=rounds.epochs,
        batch=rounds.batch or optimiser.batch,
        learning_rate=rounds.learning_rate or optimiser.learning_rate,
    )
