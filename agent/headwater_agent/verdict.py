"""What a message of the coordinator is worth: proved, fitting and new, or declined with a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, assert_never

import numpy as np

from headwater import wire
from headwater.errors import BundleError, PeerError
from headwater.objects import Vector
from headwater_agent.correspondence import StoredVersion
from headwater_models.arrays import Arrays, unpack
from headwater_models.identity import version_id
from headwater_models.manifest import Manifest
from headwater_models.signing import (
    ModelStatement,
    VersionStatement,
    check_follows,
    later,
    verify_version,
)

Reason = Literal["unknown-base", "wrong-model", "bad-signature", "older-sequence"]


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """What the client knows of its own device, and trusts.

    ``current`` is the statement of the bundle's own version, ``local`` its weights.
    """

    name: str
    manifest: Manifest
    trusted: ModelStatement
    current: VersionStatement
    local: Arrays


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The answer where it can be given at once, and the version that the message brought."""

    reply: wire.Reply | None = None
    version: StoredVersion | None = None
    weights: Arrays | None = None


def delegated(device: Device, statement: str | None) -> Device:
    """Return the device with whom it trusts by a later statement of its publisher, if it is one.

    Raises
    ------
    BundleError
        When the statement is not the publisher's.
    """
    return (
        device if statement is None else replace(device, trusted=later(device.trusted, statement))
    )


def newest(device: Device, versions: Mapping[str, StoredVersion]) -> VersionStatement:
    """Return the statement of the release that the device should run."""
    served = [version for version in versions.values() if version.kind != "candidate"]
    best = max(served, key=lambda version: version.sequence, default=None)
    if best is None or best.sequence <= device.current.sequence:
        return device.current
    return verify_version(best.statement, trusted=device.trusted)


def holds(device: Device, version: StoredVersion) -> bool:
    """Say whether a stored version is of the device's model and signed by whom it trusts now."""
    try:
        verify_version(version.statement, trusted=device.trusted)
    except BundleError:
        return False
    return True


def judge(
    device: Device,
    versions: Mapping[str, StoredVersion],
    task: str,
    message: wire.Task,
    array: Vector | None,
    *,
    now: int,
) -> Verdict:
    """Judge one message.

    Parameters
    ----------
    device
        Whom it was sent to.
    versions
        Those whose weights are here, beside the bundle's own, by name.
    task
        Its name.
    message, array
        What came.
    now
        UTC milliseconds.
    """
    try:
        match message:
            case wire.CheckIn():
                return Verdict()
            case wire.Train():
                _check_known(device, versions, message.model, message.base)
                return Verdict()
            case wire.Evaluate():
                _check_known(device, versions, message.model, message.release)
                return _candidate(device, versions, message, array, now)
            case wire.Release():
                _check_known(device, versions, message.model, device.current.version)
                return _release(device, versions, message, array, now)
            case _:
                assert_never(message)
    except _Declined as declined:
        about = message.version if isinstance(message, wire.Release) else task
        return Verdict(wire.Declined(device=device.name, task=about, reason=declined.reason))


class _Declined(Exception):  # noqa: N818 - not an error: an answer
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def _check_known(
    device: Device, versions: Mapping[str, StoredVersion], model: str, version: str
) -> None:
    if model != device.trusted.model:
        raise _Declined("wrong-model")
    if version not in versions and version != device.current.version:
        raise _Declined("unknown-base")


def _candidate(
    device: Device,
    versions: Mapping[str, StoredVersion],
    message: wire.Evaluate,
    array: Vector | None,
    now: int,
) -> Verdict:
    statement, weights = _verified(device, message.statement, message.candidate, array)
    if statement.kind != "candidate":
        raise _Declined("bad-signature")
    if statement.version in versions or statement.version == device.current.version:
        return Verdict()
    return Verdict(None, _stored(statement, message.statement, 0, now), weights)


def _release(
    device: Device,
    versions: Mapping[str, StoredVersion],
    message: wire.Release,
    array: Vector | None,
    now: int,
) -> Verdict:
    statement, weights = _verified(device, message.statement, message.version, array)
    here = newest(device, versions)
    merged = message.merged
    if statement.kind == "candidate":
        raise _Declined("bad-signature")
    if (statement.version, statement.sequence) == (here.version, here.sequence):
        known = versions.get(statement.version)
        merged = max(merged, known.merged if known else 0)
    elif statement.sequence <= here.sequence:
        raise _Declined("older-sequence")
    else:
        try:
            check_follows(here, statement)
        except BundleError as error:
            raise _Declined("bad-signature") from error
    reply = wire.Received(device=device.name, version=statement.version, accepted=True)
    return Verdict(reply, _stored(statement, message.statement, merged, now), weights)


def _verified(
    device: Device, text: str, version: str, array: Vector | None
) -> tuple[VersionStatement, Arrays]:
    """Return a statement that holds and the weights that it is about."""
    try:
        statement = verify_version(text, trusted=device.trusted)
        shared = unpack(device.manifest, np.zeros(0, np.float32) if array is None else array)
        weights = device.local | shared
        name = version_id(device.manifest, device.trusted.model, weights)
    except (BundleError, PeerError) as error:
        raise _Declined("bad-signature") from error
    if not name == version == statement.version:
        raise _Declined("bad-signature")
    return statement, weights


def _stored(statement: VersionStatement, text: str, merged: int, now: int) -> StoredVersion:
    return StoredVersion(
        version=statement.version,
        kind=statement.kind,
        sequence=statement.sequence,
        statement=text,
        merged=merged,
        received_ms=now,
    )
