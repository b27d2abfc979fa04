"""The federation client's core: messages and finished work in, what to keep and send out. No I/O.

Every message becomes a stored task before it is confirmed, every answer is fixed before it is
sent, and both are recognised when they come again. So the client may die at any instruction, and
messages, outcomes and releases may come in any order and more than once: each task is answered
at most once, always with the same bytes, and the newest release never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, assert_never

import msgspec

from headwater import wire
from headwater.errors import BundleError, PeerError
from headwater.objects import Vector
from headwater.wire import ARRAY, Kind
from headwater_agent.correspondence import StoredTask, StoredVersion
from headwater_agent.outcome import Outcome
from headwater_agent.outgoing import check_outgoing
from headwater_agent.receipts import Received, read_receipts
from headwater_agent.verdict import Device, holds, judge, newest
from headwater_models.arrays import Arrays
from headwater_models.signing import VersionStatement, later

ANSWERABLE_MS = 12 * 3_600_000
"""Flower keeps a message for twelve hours; a task older than that has no one to answer to."""

_KINDS: dict[type[wire.Task], Kind] = {
    wire.CheckIn: Kind.CHECK_IN,
    wire.Train: Kind.TRAIN,
    wire.Evaluate: Kind.EVALUATE,
    wire.Release: Kind.RELEASE,
}


@dataclass(frozen=True, slots=True, eq=False)
class Delivered:
    """The connection brought a message.

    ``fields`` are still encoded; ``array`` is ``[n]`` or None. ``flower`` is what the
    connection needs to answer, also from a later process.
    """

    kind: Kind
    fields: bytes
    array: Vector | None
    flower: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """An outcome lies in the shared folder."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, eq=False)
class Reported:
    """What the agent says of itself; None when it says nothing that can be read."""

    status: wire.CheckedIn | None


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """The connection took an answer, or nobody wanted it."""

    task: str
    result: Literal["sent", "unwanted"]


@dataclass(frozen=True, slots=True, eq=False)
class Ticked:
    """Time passed."""


Event = Delivered | Found | Reported | Answered | Ticked


@dataclass(frozen=True, slots=True, eq=False)
class Keep:
    """Store a task and what it brought, then confirm the message.

    That is a version with its weights, receipts, or the publisher's later statement.
    """

    task: StoredTask
    version: StoredVersion | None = None
    weights: Arrays | None = None
    receipts: tuple[Received, ...] = ()
    delegation: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Send:
    """Fix this answer, write it into the ledger, send it; then say :class:`Answered`."""

    task: StoredTask
    fields: bytes
    array: Vector | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """Close a task."""

    task: str
    state: Literal["answered", "refused"]


@dataclass(frozen=True, slots=True)
class Drop:
    """Do nothing with a message or an outcome, and say why."""

    reason: str


Effect = Keep | Send | Settle | Drop


_WITH_TASK = (wire.Update, wire.Evaluated, wire.Declined)


class Client:
    """One device's side of the federation.

    Parameters
    ----------
    device
        Whose client it is.
    tasks
        Those that stand open from an earlier process.
    settled
        Names of those that are closed.
    versions
        Those whose weights are here, beside the bundle's own.

    Attributes
    ----------
    poll_ms
        How long the coordinator wants to be left alone between two looks for messages.
    """

    def __init__(
        self,
        device: Device,
        *,
        tasks: Iterable[StoredTask] = (),
        settled: Iterable[str] = (),
        versions: Iterable[StoredVersion] = (),
    ) -> None:
        self.poll_ms = 0
        self._device = device
        self._open = {task.task: task for task in tasks}
        self._settled = set(settled)
        self._versions = {version.version: version for version in versions}

    @property
    def idle(self) -> bool:
        """Whether nothing is owed to the coordinator."""
        return not self._open

    @property
    def newest(self) -> VersionStatement:
        """The statement of the release that the device should run."""
        return newest(self._device, self._versions)

    def needed(self) -> set[str]:
        """Return the versions that an open task is about."""
        names: set[str] = set()
        for task in self._open.values():
            match wire.decode_task(task.fields):
                case wire.Train(base=base):
                    names.add(base)
                case wire.Evaluate(candidate=candidate, release=release):
                    names |= {candidate, release}
        return names

    def knows(self, version: StoredVersion) -> bool:
        """Say whether a stored version is one that counts."""
        return version.version in self._versions

    def forget(self, versions: Iterable[str]) -> None:
        """Know no longer about versions whose weights were removed."""
        for name in versions:
            self._versions.pop(name, None)

    def feed(self, event: Event, now: int) -> Iterator[Effect]:
        """Take one event at a time, in UTC milliseconds, and say what is to be done."""
        match event:
            case Delivered():
                yield from self._delivered(event, now)
            case Found(outcome):
                yield from self._found(outcome)
            case Reported(status):
                yield from self._reported(status)
            case Answered(task, result):
                yield from self._answered(task, result)
            case Ticked():
                yield from self._ticked(now)
            case _:
                assert_never(event)

    # Messages

    def _delivered(self, event: Delivered, now: int) -> Iterator[Effect]:
        try:
            message = _read(event)
        except PeerError as error:
            yield Drop(str(error))
            return
        name = _task_name(message, event.flower)
        if name in self._settled:
            yield Drop(f"The coordinator asks again for task {name[:12]}, which is closed.")
            return
        receipts: tuple[Received, ...] = ()
        delegation, complaint = self._heed_publisher(message)
        if complaint:
            yield Drop(complaint)
        if isinstance(message, wire.CheckIn):
            receipts, complaints = read_receipts(self._device, message)
            yield from (Drop(complaint) for complaint in complaints)
            if message.poll_ms is not msgspec.UNSET:
                self.poll_ms = message.poll_ms
            message = wire.CheckIn(protocol=message.protocol)
        task = StoredTask(name, event.kind, wire.encode(message), event.flower, now)
        before = self._open.get(name)
        if before is not None:
            keep = Keep(replace(task, reply=before.reply, outcome=before.outcome))
        else:
            found = judge(self._device, self._versions, name, message, event.array, now=now)
            reply = None if found.reply is None else wire.encode(found.reply)
            keep = Keep(replace(task, reply=reply), found.version, found.weights, receipts)
        self._open[name] = keep.task
        if keep.version is not None:
            self._versions[keep.version.version] = keep.version
        yield replace(keep, delegation=delegation)
        if keep.task.reply is not None and keep.task.outcome is None:
            yield Send(keep.task, keep.task.reply)

    def _heed_publisher(self, message: wire.Task) -> tuple[str | None, str]:
        """Trust whom the publisher's later statement names, and no version of anyone else.

        An older statement, or the one that holds already, changes nothing.

        Returns
        -------
        tuple
            The statement if it is later, and a complaint if it is not the publisher's.
        """
        text = getattr(message, "delegation", msgspec.UNSET)
        if text is msgspec.UNSET:
            return None, ""
        trusted = self._device.trusted
        try:
            found = later(trusted, text)
        except BundleError as error:
            return None, f"A statement that came is not believed: {error}"
        if found is trusted:
            return None, ""
        self._device = device = replace(self._device, trusted=found)
        self._versions = {name: one for name, one in self._versions.items() if holds(device, one)}
        return text, ""

    # Answers

    def _found(self, outcome: Outcome) -> Iterator[Effect]:
        name = outcome.reply.task if isinstance(outcome.reply, _WITH_TASK) else ""
        task = self._open.get(name)
        if task is None or task.kind not in (Kind.TRAIN, Kind.EVALUATE):
            return
        if task.reply is not None and task.outcome != outcome.name:
            return
        try:
            check_outgoing(self._device, task, outcome.reply, outcome.array)
        except PeerError as error:
            yield Drop(f"Outcome {outcome.name[:12]} stays here: {error}")
            reply = wire.Declined(device=self._device.name, task=name, reason="failed")
            yield self._fixed(task, wire.encode(reply), None, None)
            return
        yield self._fixed(task, wire.encode(outcome.reply), outcome.array, outcome.name)

    def _reported(self, status: wire.CheckedIn | None) -> Iterator[Effect]:
        asked = [
            task
            for task in self._open.values()
            if task.kind is Kind.CHECK_IN and task.reply is None
        ]
        if asked and (status is None or not self._is_ours(status)):
            yield Drop("The agent does not say how it is; its check-in has no counts.")
            best = self.newest
            status = wire.CheckedIn(
                device=self._device.name,
                model=best.model,
                version=best.version,
                sequence=best.sequence,
            )
        for task in asked:
            assert status is not None  # noqa: S101 - made above
            yield self._fixed(task, wire.encode(status), None, None)

    def _is_ours(self, status: wire.CheckedIn) -> bool:
        return (status.device, status.model) == (self._device.name, self._device.trusted.model)

    def _fixed(
        self, task: StoredTask, fields: bytes, array: Vector | None, outcome: str | None
    ) -> Send:
        self._open[task.task] = fixed = replace(task, reply=fields, outcome=outcome)
        return Send(fixed, fields, array, outcome)

    def _answered(self, task: str, result: Literal["sent", "unwanted"]) -> Iterator[Effect]:
        if self._open.pop(task, None) is not None:
            self._settled.add(task)
            yield Settle(task, "answered" if result == "sent" else "refused")

    def _ticked(self, now: int) -> Iterator[Effect]:
        for task in list(self._open.values()):
            if now - task.received_ms > ANSWERABLE_MS:
                yield from self._answered(task.task, "unwanted")
            elif task.reply is not None and task.outcome is None:
                yield Send(task, task.reply)


def _read(event: Delivered) -> wire.Task:
    """Decode a message whose kind, fields and array must agree."""
    message = wire.decode_task(event.fields)
    if _KINDS[type(message)] is not event.kind:
        raise PeerError(f"The coordinator sent a {event.kind} with the fields of another kind.")
    if isinstance(message, wire.CARRIES_ARRAY) != (event.array is not None):
        raise PeerError(f"The coordinator sent a {event.kind} with or without {ARRAY}, wrongly.")
    return message


def _task_name(message: wire.Task, flower: bytes) -> str:
    if isinstance(message, wire.Train | wire.Evaluate):
        return message.task
    return sha256(flower).hexdigest()
