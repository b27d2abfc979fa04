"""The courier: the federation client's core with its database, its folders and its connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, Protocol, assert_never

from headwater import wire
from headwater.clock import now_ms
from headwater.errors import HeadwaterError, PeerError
from headwater.objects import Vector, digest, name_of
from headwater_agent.client import (
    Answered,
    Client,
    Delivered,
    Drop,
    Effect,
    Found,
    Keep,
    Reported,
    Send,
    Settle,
    Ticked,
)
from headwater_agent.correspondence import CONNECTION, LedgerLine, StoredVersion
from headwater_agent.exchange import Exchange
from headwater_agent.outcome import Outcome, find_outcomes
from headwater_agent.settings import AgentSettings
from headwater_agent.verdict import Device, delegated, holds
from headwater_models.arrays import packed_bytes
from headwater_models.files import read_bounded, storage_errors
from headwater_models.weights import save_weights

KEPT_RELEASES = 3
"""Newest releases whose weights stay, beside those that an open task is about."""

ACCOUNTED_EVERY_MS = 3_600_000
"""How often the ledger is told what a connection sent apart from answers; and at its end."""

MESSAGES_AT_ONCE = 16
"""Messages that are taken in before outcomes are looked for again."""

_log = logging.getLogger(__name__)


class Connection(Protocol):
    """What the client needs of the network; see :class:`.flower.FleetConnection`."""

    def open(self) -> None:
        """Become known to the coordinator."""

    def pull(self) -> Delivered | None:
        """Fetch the next message; the same one again until it is confirmed."""

    def confirm(self) -> None:
        """Let go of the message pulled last."""

    def reply(
        self, flower: bytes, fields: bytes, array: Vector | None
    ) -> Literal["sent", "unwanted"]:
        """Answer a message; the same answer given twice is one answer."""

    def sent(self) -> tuple[int, int]:
        """Return the requests and bytes that went out since the last call, of whatever kind."""

    def close(self, *, leave: bool) -> None:
        """Hang up."""


class Courier:
    """The client's core with its database, folders and connection.

    Parameters
    ----------
    settings
        The agent's.
    device
        Whose client this is.
    exchange
        The open database.
    connection
        To the coordinator.
    clock
        UTC milliseconds.

    Raises
    ------
    BundleError
        When the publisher's statement in the database was changed.
    """

    def __init__(
        self,
        settings: AgentSettings,
        device: Device,
        exchange: Exchange,
        connection: Connection,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._peer = settings.federation.coordinator
        self._share = settings.share
        self._folder = settings.exchange / "versions"
        self._longest = packed_bytes(device.manifest)
        self._exchange = exchange
        self._connection = connection
        self._clock = clock
        self._complained: set[str] = set()
        self._opened = False
        self._accounted_ms = clock()
        with storage_errors(self._folder, "written"):
            self._folder.mkdir(exist_ok=True)
        device = delegated(device, exchange.delegation())
        self._client = Client(
            device,
            tasks=exchange.open_tasks(),
            settled=exchange.settled(),
            versions=[version for version in exchange.versions() if self._is_good(version, device)],
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is owed to the coordinator."""
        return self._client.idle

    @property
    def poll_s(self) -> float:
        """How long the coordinator wants to be left alone, seconds."""
        return self._client.poll_ms / 1000

    def exchange_once(self) -> bool:
        """Take in what the coordinator sent, send what is ready; say whether anything came.

        Raises
        ------
        UnreachableError
            When the coordinator is away; nothing is lost and the call may be repeated.
        PeerError
            When it does not take this device.
        StorageError
            When the disk is at fault.
        """
        if not self._opened:
            self._connection.open()
            self._opened = True
            _log.info("connected to %s", self._peer)
        came = self._take_messages()
        self._perform(self._client.feed(Reported(self._status()), self._clock()))
        for outcome in find_outcomes(self._share, self._longest):
            if isinstance(outcome, Outcome):
                self._perform(self._client.feed(Found(outcome), self._clock()))
            else:
                self._complain(str(outcome))
        self._perform(self._client.feed(Ticked(), self._clock()))
        self._prune()
        if abs(self._clock() - self._accounted_ms) >= ACCOUNTED_EVERY_MS:
            self._account()
        return came

    def close(self) -> None:
        """Hang up; with work left, stay known as online for the process that will follow."""
        try:
            self._connection.close(leave=self.idle)
        finally:
            self._account()

    def _account(self) -> None:
        """Write into the ledger what the connection sent since the last time."""
        self._accounted_ms = self._clock()
        requests, size = self._connection.sent()
        if requests:
            line = LedgerLine(
                time_ms=self._accounted_ms,
                task="",
                kind=CONNECTION,
                arrays=(),
                bytes=size,
                peer=self._peer,
                requests=requests,
            )
            self._exchange.account(line)

    def _take_messages(self) -> bool:
        for count in range(MESSAGES_AT_ONCE):
            try:
                event = self._connection.pull()
            except PeerError as error:
                _log.warning("%s", error)
                continue
            if event is None:
                return count > 0
            _log.info("received %s", event.kind)
            self._perform(self._client.feed(event, self._clock()))
            self._connection.confirm()
        return True

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Keep():
                    self._keep(effect)
                case Send():
                    self._send(effect)
                case Settle(task, state):
                    self._exchange.settle(task, state, self._clock())
                    _log.info("task %s is %s", task[:12], state)
                case Drop(reason):
                    self._complain(reason)
                case _:
                    assert_never(effect)

    def _keep(self, effect: Keep) -> None:
        if effect.version is not None and effect.weights is not None:
            save_weights(self._weights(effect.version.version), effect.weights)
            version = effect.version
            _log.info("%s %s, sequence %d", version.kind, version.version[:12], version.sequence)
        if effect.delegation is not None:
            _log.info("the publisher says anew which keys may release")
        self._exchange.keep(effect.task, effect.version, effect.receipts, effect.delegation)
        self._connection.confirm()

    def _send(self, effect: Send) -> None:
        task = effect.task
        size = 0 if effect.array is None else effect.array.nbytes
        kind = wire.decode_reply(effect.fields).__struct_config__.tag
        line = LedgerLine(
            time_ms=self._clock(),
            task=task.task,
            kind=str(kind),
            arrays=() if effect.array is None else (name_of(effect.array),),
            bytes=len(effect.fields) + size,
            peer=self._peer,
            digest=digest(effect.fields, effect.array),
        )
        entry = self._exchange.will_send(line, effect.fields, effect.outcome)
        if entry is not None:
            _log.info("entry %d of the ledger is %s", entry.number, entry.hash)
        result = self._connection.reply(task.flower, effect.fields, effect.array)
        _log.info("%s %s, %d bytes", result, kind, line.bytes)
        if entry is None:
            result = "sent"  # a part or all of it went out before this process or error
        self._perform(self._client.feed(Answered(task.task, result), self._clock()))

    def _status(self) -> wire.CheckedIn | None:
        try:
            reply = wire.decode_reply(
                read_bounded(self._share / "status.json", wire.MAX_FIELDS_BYTES)
            )
        except HeadwaterError:
            return None
        return reply if isinstance(reply, wire.CheckedIn) else None

    def _prune(self) -> None:
        """Remove the weights that no one will ask for again."""
        versions = self._exchange.versions()
        served = [v.version for v in versions if v.kind != "candidate" and self._client.knows(v)]
        wanted = {*served[-KEPT_RELEASES:], *self._client.needed()}
        old = [v.version for v in versions if v.version not in wanted]
        if old:
            self._exchange.forget(old)
            self._client.forget(old)
        with storage_errors(self._folder, "written"):
            for path in self._folder.glob("*.safetensors"):
                if path.stem not in wanted:
                    path.unlink()

    def _weights(self, version: str) -> Path:
        return self._folder / f"{version}.safetensors"

    def _is_good(self, version: StoredVersion, device: Device) -> bool:
        """Say whether a version is still of this model and trusted, and its weights are there."""
        return self._weights(version.version).exists() and holds(device, version)

    def _complain(self, sentence: str) -> None:
        if sentence not in self._complained and len(self._complained) < 1_000:
            self._complained.add(sentence)
            _log.warning("%s", sentence)
