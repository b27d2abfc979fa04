"""The coordinator of a simulated fleet: the federation core, with its books in memory.

Core, strategies, firewall and gate are those of the server. There are no signatures, no files and
no processes around them: what the core asks to be kept is kept in a dictionary, and what it asks
to be told to a device is handed to the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from headwater import wire
from headwater.errors import UnsupportedError
from headwater.objects import Vector
from headwater_coordinator import events as e
from headwater_coordinator.coordinator import training
from headwater_coordinator.federation import Federation
from headwater_coordinator.settings import Settings
from headwater_coordinator.state import Device, Pending, State, Version
from headwater_coordinator.strategies import (
    About,
    FedProx,
    Floats,
    Strategy,
    Updates,
    merge_statistics,
    refuse_unfit,
)
from headwater_coordinator.strategies.strategy import State as StrategyState
from headwater_coordinator.strategies.updates import MemorySource
from headwater_models.arrays import Arrays, pack, packed_size, unpack
from headwater_models.bundle import FIRST_SEQUENCE, Bundle
from headwater_models.identity import version_id
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.member import EPOCH_MS

STATEMENT = ""
"""Versions are not signed here."""

Asked = tuple[e.Ask, Arrays | None]
"""What a device is to be asked, and the arrays of the version that goes with it."""


class VirtualCoordinator:
    """Carries out in memory what the core asks for.

    Parameters
    ----------
    bundle
        The model that the fleet begins with.
    settings
        Of the coordinator.
    strategy
        Merges updates.
    rng
        Source of task names and of who is chosen.
    chronicle
        Is told what happens.
    released
        Called with the weights of each release after it was written down.
    groups
        The group of each device, by its name.

    Raises
    ------
    UnsupportedError
        When the strategy does not fit the model.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: Settings,
        strategy: Strategy,
        *,
        rng: np.random.Generator,
        chronicle: Chronicle,
        released: Callable[[Arrays], None],
        groups: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._manifest, self._model = bundle.manifest, bundle.model_id
        self._settings = settings
        self._strategy = strategy
        refuse_unfit(strategy, bundle.manifest)
        self._untaught = bundle.weights
        self._terms = {
            **(self._strategy.terms if isinstance(self._strategy, FedProx) else {}),
            **settings.update.terms,
        }
        self._chronicle = chronicle
        self._tell_release = released
        first = Version(bundle.version_id, FIRST_SEQUENCE, "", STATEMENT)
        self._weights: dict[str, Arrays] = {first.name: bundle.weights}
        self._packed: dict[str, Floats] = {}
        self._states: dict[str, StrategyState] = {first.name: {}}
        self._vectors: dict[str, tuple[Floats, float]] = {}
        self._given: dict[str, Vector] = {}
        self._kept = settings.federation.max_staleness + 2
        self._merged: dict[str, int] = {}
        self._merged_in = 0
        known = {node: Device(node, group=group) for node, group in groups.items()}
        state = State(first, devices=known, sequences={first.name: first.sequence})
        asked = training(bundle, settings)
        self.federation = Federation(state, asked, bundle.manifest, settings, rng)
        self._deeds: dict[type[e.Effect], Callable[[Any, int], e.Event | None]] = {
            e.Accept: self._accept,
            e.Refuse: self._refuse,
            e.Weigh: self._weigh,
            e.Open: self._open,
            e.Close: self._close,
            e.Merge: self._merge,
            e.Release: self._release,
            e.Reject: self._reject,
        }

    @property
    def release(self) -> Version:
        """What the fleet agreed on."""
        return self.federation.state.release

    @property
    def due_ms(self) -> int | None:
        """When there is something to be done if nothing comes, on the virtual clock."""
        due = self.federation.due_ms
        return None if due is None else due - EPOCH_MS

    def sequence(self, version: str) -> int:
        """Return the sequence number of a release."""
        return self.federation.state.sequences[version]

    def weights(self, version: str) -> Arrays:
        """Return the arrays of the release, of an open candidate, or of a base in use."""
        return self._weights[version]

    def feed(self, events: Iterable[e.Event], now: int) -> list[Asked]:
        """Take events at a moment of the virtual clock, one after the other.

        Returns
        -------
        list
            What devices are to be asked, each with the arrays that go with it.
        """
        asked: list[Asked] = []
        following: deque[e.Event] = deque()
        for event in events:
            following.append(event)
            while following:
                effects = self.federation.feed(following.popleft(), EPOCH_MS + now)
                following += self._carry_out(effects, asked, now)
        return asked

    def _carry_out(
        self, effects: Iterable[e.Effect], asked: list[Asked], now: int
    ) -> Iterator[e.Event]:
        """Do what effects say, and note what is asked; yield the events that answer them."""
        deeds, weights = self._deeds, self._weights
        for effect in effects:
            if type(effect) is e.Ask:
                arrays = None if effect.arrays is None else weights[effect.arrays]
                asked.append((self._with_terms(effect) if self._terms else effect, arrays))
                continue
            deed = deeds.get(type(effect))
            if deed is not None:
                answer = deed(effect, now)
                if answer is not None:
                    yield answer

    def _with_terms(self, ask: e.Ask) -> e.Ask:
        if not isinstance(ask.task, wire.Train):
            return ask
        task = msgspec.structs.replace(ask.task, protocol=wire.TERMS, **self._terms)
        return msgspec.structs.replace(ask, task=task)

    # What is kept; the rest only a database keeps

    def _accept(self, effect: e.Accept, now: int) -> None:
        del now
        update, node = effect.update, effect.pending.node
        if self._manifest.statistics:
            self._given[node] = effect.vector
        else:
            self._vectors[node] = effect.vector, update.loss_before
        staleness = self.federation.state.staleness(update.base) or 0
        self._chronicle.accepted(node, effect.round, staleness)

    def _refuse(self, effect: e.Refuse, now: int) -> None:
        self._chronicle.refused(effect, now)

    def _weigh(self, effect: e.Weigh, now: int) -> None:
        del now
        self._chronicle.weighed(effect.round, effect.size)

    def _open(self, effect: e.Open, now: int) -> None:
        self._chronicle.opened(effect.round, effect.asked, now)

    def _close(self, effect: e.Close, now: int) -> None:
        self._chronicle.closed(effect, now)

    def _reject(self, effect: e.Reject, now: int) -> None:
        del now
        self._chronicle.judged(self._merged_in, "refused", effect.decision.words)
        self._drop(effect.candidate.name)

    def _merge(self, effect: e.Merge, now: int) -> e.Merged:
        """Make the candidate from updates in the order of their devices' names."""
        del now
        base, ordered = effect.base, sorted(effect.updates, key=lambda update: update.node)
        self._merged = {one.node: one.sequence for one in ordered}
        self._merged_in = effect.round
        try:
            arrays, state = (
                self._solved(base) if self._manifest.statistics else self._averaged(base, ordered)
            )
        except UnsupportedError as error:
            self._chronicle.judged(effect.round, "void", str(error))
            return e.Merged(None)
        name = version_id(self._manifest, self._model, arrays)
        if name in self._weights:
            self._chronicle.judged(effect.round, "same", "The merge changes nothing.")
            return e.Merged(None)
        self._weights[name], self._states[name] = arrays, state
        return e.Merged(
            Version(name, base.sequence + 1, base.name, STATEMENT, effect.data_until_ms)
        )

    def _averaged(self, base: Version, ordered: Sequence[Pending]) -> tuple[Arrays, StrategyState]:
        """Return the arrays that the strategy makes of updates, and its state after it."""
        vectors = [self._vectors.pop(one.node) for one in ordered]
        staleness = self.federation.state.staleness
        ages = {base: staleness(base) or 0 for base in {one.base for one in ordered}}
        about = [
            About(
                node=one.node,
                examples=one.weight,
                staleness=ages[one.base],
                loss=loss,
            )
            for one, (_, loss) in zip(ordered, vectors, strict=True)
        ]
        bases = {base: self._pack(base) for base in {one.base for one in ordered}}
        source = MemorySource(
            [vector for vector, _ in vectors], [bases[one.base] for one in ordered]
        )
        updates = Updates(packed_size(self._manifest), about, source)
        made = self._strategy.merge(self._pack(base.name), updates, self._states[base.name])
        return self._weights[base.name] | unpack(self._manifest, made.vector), made.state

    def _solved(self, base: Version) -> tuple[Arrays, StrategyState]:
        """Return the arrays that follow from the latest statistics of every device.

        They hold for every version, for none changes the backbone that they were gathered on.
        """
        given = (self._given[node] for node in sorted(self._given))
        release = self._weights[base.name]
        return merge_statistics(self._manifest, release, given, self._untaught), {}

    def _release(self, effect: e.Release, now: int) -> e.Released:
        candidate, words, number = effect.candidate, effect.decision.words, self._merged_in
        self._chronicle.judged(number, "released", words)
        self._chronicle.released(candidate, number, words, now)
        self._tell_release(self._weights[candidate.name])
        known = [*self.federation.state.sequences, candidate.name]
        for name in known[: -self._kept]:
            self._drop(name)
        return e.Released(candidate, self._merged)

    def _drop(self, name: str) -> None:
        for kept in (self._weights, self._packed, self._states):
            kept.pop(name, None)

    def _pack(self, version: str) -> Floats:
        """Return the packed weights of a version."""
        if version not in self._packed:
            self._packed[version] = pack(self._manifest, self._weights[version])
        return self._packed[version]
