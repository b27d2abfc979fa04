"""What a device remembers of its dealings with the coordinator: tasks, versions, answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater.wire import Kind

State = Literal["open", "answered", "refused"]
Release = Literal["release", "candidate", "rollback"]


@dataclass(frozen=True, slots=True)
class StoredTask:
    """One message from the coordinator and what became of it.

    ``task`` is the task's own hash, or the hash of the message where it has none. ``flower`` is
    what the adapter needs to answer. ``reply`` is the encoded answer once it is decided, and
    ``outcome`` the file that its array lies in.
    """

    task: str
    kind: Kind
    fields: bytes
    flower: bytes
    received_ms: int
    state: State = "open"
    answered_ms: int | None = None
    reply: bytes | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version that was received and verified; its weights lie beside under its name."""

    version: str
    kind: Release
    sequence: int
    statement: str
    merged: int
    received_ms: int


CONNECTION = "connection"
"""Kind of the lines that count what a connection sent: polls, heartbeats and what bears answers."""


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One answer that was sent: when, for which task, what, how large, and to whom.

    ``digest`` is the answer's (:func:`headwater.objects.digest`); empty in lines of programs that
    did not note it. A line of the kind ``connection`` is about no task: it counts the ``requests``
    of a time and their bytes as HTTP/1.1 writes them, those that carried answers among them.
    """

    time_ms: int
    task: str
    kind: str
    arrays: tuple[str, ...]
    bytes: int
    peer: str
    digest: str = ""
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Since when, and why, the federation client may not run."""

    since_ms: int
    reason: str
