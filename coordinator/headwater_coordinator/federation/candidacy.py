"""The candidate: what becomes of a merge, whichever the discipline.

::

    NONE --merge--> MERGING --Merged--> WAITING --judges asked--> JUDGING --passed--> RELEASING
     ^                |                    |                         |                   |
     +--Merged(None)--+-----erased---------+--------refused----------+------Released-----+

At most one candidate is open. A restart begins in WAITING when one is, otherwise in NONE. When a
contribution is erased that a candidate was solved with, the candidate is refused. A merge that
gives an older release again is answered by that one, released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

import msgspec

from headwater import wire
from headwater_coordinator.events import (
    CandidateDecided,
    Effect,
    Merge,
    Reject,
    Release,
    Tell,
)
from headwater_coordinator.federation.fleet import Asked, Fleet
from headwater_coordinator.federation.tally import Tally
from headwater_coordinator.gate import Decision, Paired, judge, pool
from headwater_coordinator.settings import Gate
from headwater_coordinator.state import Device, Pending, State, Version

_ERASED = "refused: a contribution that it was solved with was erased"


class Stage(StrEnum):
    """Where a candidate stands."""

    NONE = "none"
    MERGING = "merging"
    WAITING = "waiting"
    JUDGING = "judging"
    RELEASING = "releasing"


class Candidacy:
    """The one candidate that may be open.

    Parameters
    ----------
    state, fleet
        Shared with the rest of the core.
    model
        The model's id.
    gate
        What a candidate must show.
    """

    def __init__(self, state: State, fleet: Fleet, model: str, gate: Gate) -> None:
        self._state = state
        self._fleet = fleet
        self._model = model
        self._gate = gate
        self._tally = Tally()
        self._evaluated: list[wire.Evaluated] = []
        self._merging: tuple[Pending, ...] = ()
        self.stage = Stage.NONE if state.candidate is None else Stage.WAITING
        self._advance: dict[Stage, Callable[[Version, int], Iterator[Effect]]] = {
            Stage.WAITING: self._waiting,
            Stage.JUDGING: self._judging,
        }

    @property
    def none(self) -> bool:
        """Whether no candidate is open, so that one may be made."""
        return self.stage is Stage.NONE

    @property
    def due_ms(self) -> int | None:
        """When something is to be done if nothing comes."""
        return self._tally.deadline_ms if self.stage is Stage.JUDGING else None

    def merge(self) -> Iterator[Effect]:
        """Merge all that is pending onto the release."""
        self.stage = Stage.MERGING
        self._state.erased = False
        self._merging = tuple(self._state.pending[node] for node in sorted(self._state.pending))
        yield Merge(self._state.round, self._state.release, self._merging)

    def merged(self, candidate: Version | None) -> None:
        """Go on with the candidate that a merge made; its updates are pending no more."""
        self._settle()
        self._state.candidate = candidate
        self.stage = Stage.NONE if candidate is None else Stage.WAITING

    def released(self) -> None:
        """Go on after a release, or after a merge that led back to an older one."""
        self._settle()
        self._state.candidate = None
        self.stage = Stage.NONE

    def settled(self, asked: Asked, outcome: wire.Reply | None, *, refused: bool) -> None:
        """Count the answer of a judge; None: it will not come."""
        waited = self._tally.settle(asked.ask, outcome, refused=refused)
        if waited and not refused and isinstance(outcome, wire.Evaluated):
            self._evaluated.append(outcome)

    def decide(self, decided: CandidateDecided) -> Iterator[Effect]:
        """Release or refuse the open candidate by the owner's word; the figures so far are kept."""
        candidate = self._state.candidate
        if candidate is None or candidate.name != decided.version:
            yield Tell(False, f"Candidate {decided.version[:12]} is open no more.")
            return
        if decided.passed and self._state.erased:
            yield Tell(False, "A contribution that the candidate was solved with was erased.")
            return
        paired = pool(self._evaluated) if self.stage is Stage.JUDGING else Paired()
        verb = "released" if decided.passed else "refused"
        words = f"{verb} by the owner: {decided.reason}"
        decision = Decision(decided.passed, words, paired)
        if decided.passed:
            self.stage = Stage.RELEASING
            yield Release(candidate, decision)
        else:
            yield from self._reject(candidate, decision)
        yield Tell(True, f"Candidate {candidate.sequence} ({candidate.name[:12]}) is {verb}.")

    def advance(self, now: int) -> Iterator[Effect]:
        """Do what is due; MERGING and RELEASING wait for their answer."""
        candidate, step = self._state.candidate, self._advance.get(self.stage)
        if step is None or candidate is None:
            return
        if self._state.erased:
            yield from self._reject(candidate, Decision(False, _ERASED, Paired()))
        else:
            yield from step(candidate, now)

    def _waiting(self, candidate: Version, now: int) -> Iterator[Effect]:
        """Ask for the candidate's losses, once there are devices to ask."""
        gate = self._gate
        if self._fleet.idle < gate.min_evaluators:
            return
        self.stage = Stage.JUDGING
        self._tally = Tally(deadline_ms=now + gate.deadline)
        self._evaluated = []
        judges = self._fleet.sample(gate.fraction, gate.min_evaluators, gate.max_evaluators)
        tasks = self._tasks(candidate, judges)
        yield from self._fleet.commission(tasks, now, patience=gate.deadline)

    def _judging(self, candidate: Version, now: int) -> Iterator[Effect]:
        if not self._tally.due(now):
            return
        groups = self._state.groups(reply.device for reply in self._evaluated)
        decision = judge(self._evaluated, self._gate, groups)
        if decision.passed:
            self.stage = Stage.RELEASING
            yield Release(candidate, decision)
        else:
            yield from self._reject(candidate, decision)

    def _reject(self, candidate: Version, decision: Decision) -> Iterator[Effect]:
        self._state.candidate = None
        self.stage = Stage.NONE
        yield Reject(candidate, decision)

    def _settle(self) -> None:
        """Forget that the updates of the last merge were pending."""
        for update in self._merging:
            if self._state.pending.get(update.node) == update:
                del self._state.pending[update.node]
                self._fleet.merged(update.node)
        self._merging = ()

    def _tasks(
        self, candidate: Version, judges: Iterable[Device]
    ) -> Iterator[tuple[Device, wire.Evaluate]]:
        for device in judges:
            task = self._evaluate(candidate, device)
            self._tally.ask(task.task)
            yield device, task

    def _evaluate(self, candidate: Version, device: Device) -> wire.Evaluate:
        task = wire.Evaluate(
            task=self._fleet.new_task(),
            model=self._model,
            candidate=candidate.name,
            release=self._state.release.name,
            round=self._state.round,
            statement=candidate.statement,
        )
        if device.protocol < wire.LATER:
            return task
        after = candidate.data_until_ms
        return msgspec.structs.replace(task, after_ms=after, protocol=wire.LATER)
