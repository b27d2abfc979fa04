"""Synchronous rounds: ask, gather, merge, judge, release or refuse, and again, without an end.

::

    WAITING --enough devices--> TRAINING --all answered or deadline--> MERGING
       ^ ^                          | too few updates                     | Merged
       | +--------------------------+                                     v
       |                    refused                                   EVALUATING
       +----------------------------------------------------------------- |
       +------------------------ RELEASING <-------- not worse -----------+
                  Released

Nothing here is lost by a restart: it begins in EVALUATING when a candidate is open, otherwise in
WAITING; updates accepted earlier stay pending and are merged with the next round's.

When a contribution of statistics is erased, a candidate with it is refused and WAITING goes to
MERGING at once. A merge that gives an older release again is answered by that one, released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from headwater import wire
from headwater_coordinator.events import Close, Effect, Merge, Open, Reject, Release
from headwater_coordinator.fleet import Asked, Fleet
from headwater_coordinator.gate import Decision, Paired, judge
from headwater_coordinator.settings import Gate, Rounds
from headwater_coordinator.state import Pending, State, Version

_ERASED = "refused: a contribution that it was solved with was erased"


class Phase(StrEnum):
    """Where a round stands."""

    WAITING = "waiting"
    TRAINING = "training"
    MERGING = "merging"
    EVALUATING = "evaluating"
    RELEASING = "releasing"


@dataclass(slots=True)
class Tally:
    """What came of the questions of one phase."""

    open: set[str] = field(default_factory=set)
    deadline_ms: int = 0
    accepted: int = 0
    refused: int = 0
    declined: int = 0
    failed: int = 0

    def due(self, now: int) -> bool:
        """Whether everyone answered or the time is up."""
        return not self.open or now >= self.deadline_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What devices are asked to do, settings and manifest put together."""

    model: str
    epochs: int
    batch: int
    learning_rate: float


class SynchronousRounds:
    """The discipline of rounds.

    Parameters
    ----------
    state, fleet
        Shared with the rest of the core.
    training
        What a device is asked to do.
    settings, gate
        How a round is held and what a candidate must show.
    """

    def __init__(
        self, state: State, fleet: Fleet, training: Training, settings: Rounds, gate: Gate
    ) -> None:
        self._state = state
        self._fleet = fleet
        self._training = training
        self._settings = settings
        self._gate = gate
        self._tally = Tally()
        self._evaluated: list[wire.Evaluated] = []
        self._merging: tuple[Pending, ...] = ()
        self._opens_ms = 0
        self._judging = False
        self.phase = Phase.WAITING
        self._advance: dict[Phase, Callable[[int], Iterator[Effect]]] = {
            Phase.WAITING: self._waiting,
            Phase.TRAINING: self._gathering,
            Phase.EVALUATING: self._evaluating,
        }

    def advance(self, now: int) -> Iterator[Effect]:
        """Do what the phase and the time ask for; MERGING and RELEASING wait for their answer.

        To be called when all that came in by *now* is counted, so that no answer that is there
        misses its deadline and no device that is there misses its round.
        """
        step = self._advance.get(self.phase)
        if step is not None:
            yield from step(now)

    # What comes in

    def settled(self, asked: Asked, outcome: wire.Reply | None, *, refused: bool = False) -> None:
        """Count the answer to a question of the current phase; None: it will not come."""
        if asked.ask not in self._tally.open:
            return
        self._tally.open.discard(asked.ask)
        if refused:
            self._tally.refused += 1
        elif outcome is None:
            self._tally.failed += 1
        elif isinstance(outcome, wire.Declined):
            self._tally.declined += 1
        else:
            self._tally.accepted += 1
            if isinstance(outcome, wire.Evaluated):
                self._evaluated.append(outcome)

    def merged(self, candidate: Version | None, now: int) -> None:
        """Go on with the candidate that a merge made; its updates are pending no more."""
        self._settle()
        self._state.candidate = candidate
        if candidate is None:
            self._rest(now)
        else:
            self.phase, self._judging = Phase.EVALUATING, False

    def hasten(self) -> None:
        """Open the next round without waiting for the pause to end: a device asks for training."""
        self._opens_ms = 0

    def released(self, now: int) -> None:
        """Go on after a release, or after a merge that led back to an older one."""
        self._settle()
        self._state.candidate = None
        self._rest(now)

    # Phases

    def _waiting(self, now: int) -> Iterator[Effect]:
        """Open a round where it is time; a candidate left by an earlier process comes first.

        After an erasure the next candidate is made at once, from what the others have given.
        """
        if self._state.candidate is not None:
            self.phase, self._judging = Phase.EVALUATING, False
            yield from self._evaluating(now)
        elif self._state.erased:
            self._state.round += 1
            self._tally = Tally()
            yield Open(self._state.round, self._state.release.name, 0)
            yield from self._close("merged")
        elif now >= self._opens_ms and len(self._fleet.ready()) >= self._settings.min_devices:
            yield from self._open(now)

    def _open(self, now: int) -> Iterator[Effect]:
        settings = self._settings
        chosen = self._fleet.choose(settings.fraction, settings.min_devices, settings.max_devices)
        self._state.round += 1
        self._tally = Tally(deadline_ms=now + settings.deadline)
        yield Open(self._state.round, self._state.release.name, len(chosen))
        for device in chosen:
            task = self._train()
            self._tally.open.add(task.task)
            yield self._fleet.ask(
                device.node,
                task,
                None,
                now,
                round_number=self._state.round,
                ttl=min(settings.message_ttl, 2 * settings.deadline),
            )
        self.phase = Phase.TRAINING

    def _gathering(self, now: int) -> Iterator[Effect]:
        if not self._tally.due(now):
            return
        enough = len(self._state.pending) >= self._settings.min_devices
        if enough and self._tally.accepted:
            yield from self._close("merged")
        else:
            yield from self._close("void")
            self._rest(now)

    def _close(self, outcome: Literal["merged", "void"]) -> Iterator[Effect]:
        """Book a round, and merge all that is pending unless it is void."""
        tally = self._tally
        lost = tally.failed + len(tally.open)
        yield Close(self._state.round, tally.accepted, tally.refused, tally.declined, lost, outcome)
        if outcome == "merged":
            self.phase = Phase.MERGING
            self._state.erased = False
            self._merging = tuple(self._state.pending[node] for node in sorted(self._state.pending))
            yield Merge(self._state.round, self._state.release, self._merging)

    def _settle(self) -> None:
        """Forget that the updates of the last merge were pending."""
        for update in self._merging:
            if self._state.pending.get(update.node) == update:
                del self._state.pending[update.node]
        self._merging = ()

    def _evaluating(self, now: int) -> Iterator[Effect]:
        candidate = self._state.candidate
        if candidate is None:
            self._rest(now)
        elif self._state.erased:
            self._state.candidate = None
            self._rest(now)
            yield Reject(candidate, Decision(False, _ERASED, Paired()))
        elif not self._judging:
            yield from self._ask_judges(candidate, now)
        elif self._tally.due(now):
            yield from self._decide(candidate, now)

    def _ask_judges(self, candidate: Version, now: int) -> Iterator[Effect]:
        """Ask for the candidate's losses, once there are devices to ask."""
        gate = self._gate
        if len(self._fleet.ready()) < gate.min_evaluators:
            return
        self._tally = Tally(deadline_ms=now + gate.deadline)
        self._evaluated = []
        self._judging = True
        for device in self._fleet.choose(gate.fraction, gate.min_evaluators, gate.max_evaluators):
            task = self._evaluate(candidate)
            self._tally.open.add(task.task)
            yield self._fleet.ask(
                device.node,
                task,
                candidate.name,
                now,
                round_number=self._state.round,
                ttl=min(self._settings.message_ttl, gate.deadline),
            )

    def _decide(self, candidate: Version, now: int) -> Iterator[Effect]:
        decision = judge(self._evaluated, self._gate)
        if decision.passed:
            self.phase = Phase.RELEASING
            yield Release(candidate, decision)
        else:
            self._state.candidate = None
            self._rest(now)
            yield Reject(candidate, decision)

    def _rest(self, now: int) -> None:
        self.phase = Phase.WAITING
        self._opens_ms = now + self._settings.pause

    def _train(self) -> wire.Train:
        return wire.Train(
            task=self._fleet.new_task(),
            model=self._training.model,
            base=self._state.release.name,
            round=self._state.round,
            epochs=self._training.epochs,
            batch=self._training.batch,
            learning_rate=self._training.learning_rate,
        )

    def _evaluate(self, candidate: Version) -> wire.Evaluate:
        return wire.Evaluate(
            task=self._fleet.new_task(),
            model=self._training.model,
            candidate=candidate.name,
            release=self._state.release.name,
            round=self._state.round,
            statement=candidate.statement,
        )
