"""The federation's alphabet: what happens to it (events) and what it asks for (effects).

``now`` and every time here are UTC milliseconds. Effects are carried out in order, each durable
before the next event is fed. What there is one of for each message is a struct of msgspec, which
is made ten times as fast as a frozen dataclass. Which one it is, is asked by ``type``: to find out
with ``isinstance`` that it is another takes five times as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from headwater import wire
from headwater.objects import Vector
from headwater_coordinator.excerpt import Excerpt
from headwater_coordinator.gate import Decision
from headwater_coordinator.state import Device, Pending, Version

# Events


@dataclass(frozen=True, slots=True)
class Appeared:
    """These devices, by the fingerprints of their keys, came online."""

    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Vanished:
    """These devices are online no more."""

    nodes: frozenset[str]


class Replied(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The answer to an ask came; ``vector`` is what its array held, unchecked.

    ``digest`` is the answer's (:func:`headwater.objects.digest`); empty where its device is given
    no receipt.
    """

    ask: str
    reply: wire.Reply
    vector: Vector | None = None
    digest: str = ""
    size: int = 0
    """Bytes of the answer as it was sent, compressed or not."""


class Answered(msgspec.Struct, frozen=True, eq=False):
    """These answers came, one after the other: what each leads to is done before the next one."""

    replies: Sequence[Replied]


@dataclass(frozen=True, slots=True)
class Failed:
    """An ask will not be answered: the device is gone, or sent what cannot be read."""

    ask: str
    reason: str
    kind: Literal["lost", "unreadable"] = "lost"
    excerpt: Excerpt | None = None
    """Of what cannot be read."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The answer to :class:`Merge`; None when the result is a version that exists already."""

    candidate: Version | None


@dataclass(frozen=True, slots=True)
class Released:
    """The answer to :class:`Release`: the candidate, now signed as a release.

    ``merged`` has, for each node with an update in it, the highest sequence that it contains.
    """

    version: Version
    merged: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ticked:
    """All that came by now was fed; what is due is done."""


@dataclass(frozen=True, slots=True)
class ErasureAsked:
    """What the device of this name contributed shall be erased, and it be asked for no more."""

    device: str


@dataclass(frozen=True, slots=True)
class ReadmissionAsked:
    """The device of this name shall be asked again; what was erased stays so."""

    device: str


@dataclass(frozen=True, slots=True)
class Grouped:
    """The device with this key, seen or not, belongs to this group from now on; empty: to none."""

    node: str
    group: str


@dataclass(frozen=True, slots=True)
class CandidateDecided:
    """The owner releases the open candidate, or refuses it, whatever the gate would say."""

    version: str
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class RollbackAsked:
    """The fleet shall go back to this version, which was released before."""

    version: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class ReleaseAsked:
    """An update of this device, in quarantine under this number, shall be accepted after all."""

    refusal: int
    node: str
    round: int
    update: wire.Update
    vector: Vector


Command = (
    ErasureAsked | ReadmissionAsked | Grouped | CandidateDecided | RollbackAsked | ReleaseAsked
)
"""What a person asks for."""

Event = Appeared | Vanished | Replied | Answered | Failed | Merged | Released | Ticked | Command

# Effects


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Send a task to a device; the message holds the packed vector of version ``arrays``.

    ``ask`` names it in :class:`Replied` and :class:`Failed`; after ``ttl_ms`` it is void.
    """

    ask: str
    node: str
    task: wire.Task
    arrays: str | None
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Wait no longer for the answer to an ask."""

    ask: str


class Note(msgspec.Struct, frozen=True, gc=False):
    """Make durable what is known of a device."""

    device: Device


class Receive(msgspec.Struct, frozen=True, gc=False):
    """Record that a reply came, so that its device is given a receipt with a later check-in.

    The device has the receipts that went out with this ``ask``; they need not be kept.
    """

    node: str
    ask: str
    kind: str
    task: str | None
    digest: str


class Accept(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Make an update durable; it supersedes the device's pending one.

    Statistics replace the device's earlier contribution, and have no ``norm``. If the update was
    in quarantine, it is there no more; ``refusal`` is its number there where a person let it in.
    """

    update: wire.Update
    pending: Pending
    vector: Vector
    round: int
    norm: float | None = None
    refusal: int | None = None


@dataclass(frozen=True, slots=True)
class Erase:
    """Remove a device's contribution and pending update, durably; it gives nothing any more."""

    node: str


@dataclass(frozen=True, slots=True)
class Readmit:
    """Let a device contribute again."""

    node: str


@dataclass(frozen=True, slots=True)
class Group:
    """Make durable which group a device belongs to."""

    device: Device


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A refused update that is sound in form, to be kept in quarantine."""

    update: wire.Update
    vector: Vector
    round: int


@dataclass(frozen=True, slots=True)
class Malformed:
    """What is left of an update that can never be merged, to be kept in quarantine.

    ``sequence`` is 0 where the update cannot be read at all.
    """

    excerpt: Excerpt
    round: int
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Refuse:
    """Record that a reply was refused, and why, in a sentence."""

    node: str
    device: str
    ask: str
    kind: str
    reason: str
    held: Held | Malformed | None = None


class Weigh(msgspec.Struct, frozen=True, gc=False):
    """Count the bytes of an update as it was sent, whatever becomes of it."""

    node: str
    round: int
    size: int


@dataclass(frozen=True, slots=True)
class Open:
    """A round begins; ``asked`` may grow until it is closed."""

    round: int
    base: str
    asked: int


@dataclass(frozen=True, slots=True)
class Close:
    """A round's training ended; with too few updates nothing is merged (``void``)."""

    round: int
    asked: int
    accepted: int
    refused: int
    declined: int
    failed: int
    outcome: Literal["merged", "void"]


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge these updates onto the release, as the candidate of a round; answer :class:`Merged`.

    A model that is solved from statistics is solved from the latest contribution of each device,
    those with these updates and those without. Where that gives an older release again, go back
    to it and answer :class:`Released`.
    """

    round: int
    base: Version
    updates: tuple[Pending, ...]

    @property
    def data_until_ms(self) -> int:
        """Event time of the newest example that what comes of it has learned from."""
        times = (update.data_until_ms for update in self.updates)
        return max([self.base.data_until_ms, *times])


@dataclass(frozen=True, slots=True)
class Release:
    """Sign the candidate as a release; answer :class:`Released`."""

    candidate: Version
    decision: Decision


@dataclass(frozen=True, slots=True)
class Reject:
    """Keep the candidate as refused, with the reason."""

    candidate: Version
    decision: Decision


@dataclass(frozen=True, slots=True)
class Rollback:
    """Sign an older release as the next one; answer :class:`Released`."""

    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Let whoever asked know whether it was done, in a sentence."""

    done: bool
    words: str


Booked = Note | Receive | Accept | Erase | Readmit | Group | Refuse | Weigh | Open | Close
"""Effects that are written down, and no more."""

Effect = Booked | Ask | Forget | Merge | Release | Reject | Rollback | Tell
