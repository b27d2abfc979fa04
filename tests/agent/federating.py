"""A device of the federation and what its coordinator sends it, for the tests of the client."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater import wire
from headwater.errors import UnreachableError
from headwater.settings import Duration
from headwater_agent.client import Delivered
from headwater_agent.federation_settings import Federation
from headwater_agent.settings import AgentSettings, Input, Trust
from headwater_agent.verdict import Device
from headwater_models.arrays import Arrays, pack
from headwater_models.identity import version_id
from headwater_models.keys import SigningKey
from headwater_models.signing import sign_model, sign_version
from tests.models.bundles import CREATED, PUBLISHER, RELEASE, signed

Floats = NDArray[np.float32]
Kind = Literal["release", "candidate", "rollback"]

NAME = "pi-1"
URL = "https://127.0.0.1:1"


@cache
def device() -> Device:
    """The device under test, with the small signed bundle."""
    bundle = signed()
    trusted, current = bundle.verify()
    return Device(NAME, bundle.manifest, trusted, current, dict(bundle.weights))


def weights(seed: int) -> Arrays:
    """Some weights for the model."""
    rng = np.random.default_rng(seed)
    return {a.name: rng.normal(size=a.shape).astype(np.float32) for a in device().manifest.arrays}


def name_of(arrays: Arrays) -> str:
    """The version's name."""
    return version_id(device().manifest, device().trusted.model, arrays)


def packed(arrays: Arrays) -> Floats:
    """The vector that a message carries."""
    return pack(device().manifest, arrays)


def statement(arrays: Arrays, sequence: int, kind: Kind, key: SigningKey = RELEASE) -> str:
    """A signed statement about a version."""
    model = device().trusted.model
    return sign_version(key, kind=kind, model=model, version=name_of(arrays), sequence=sequence)


def delegation(*keys: SigningKey, later: int = 1, publisher: SigningKey = PUBLISHER) -> str:
    """The publisher's statement, made so much later than the bundle's, that these keys release."""
    return sign_model(
        publisher,
        model=device().trusted.model,
        release_keys=[key.public for key in keys],
        created=CREATED + later,
    )


def task_name(number: int) -> str:
    """The hash of a task."""
    return f"{number:064x}"


def delivered(message: wire.Task, array: Floats | None = None, number: int = 0) -> Delivered:
    """The message as the connection brings it; the number tells repetitions apart."""
    kinds = {
        wire.CheckIn: wire.Kind.CHECK_IN,
        wire.Train: wire.Kind.TRAIN,
        wire.Evaluate: wire.Kind.EVALUATE,
        wire.Release: wire.Kind.RELEASE,
    }
    fields = wire.encode(message)
    return Delivered(kinds[type(message)], fields, array, b"%d:" % number + fields[:40])


def train(number: int = 1, base: str | None = None, model: str | None = None) -> Delivered:
    """A training task."""
    own = device()
    message = wire.Train(
        task=task_name(number),
        model=model or own.trusted.model,
        base=base or own.current.version,
        round=1,
    )
    return delivered(message, number=number)


def evaluate(number: int, seed: int, kind: Kind = "candidate") -> Delivered:
    """An evaluation of the weights of a seed."""
    arrays = weights(seed)
    message = wire.Evaluate(
        task=task_name(number),
        model=device().trusted.model,
        candidate=name_of(arrays),
        release=device().current.version,
        round=1,
        statement=statement(arrays, 1, kind),
    )
    return delivered(message, packed(arrays), number)


def release(
    seed: int,
    sequence: int,
    *,
    kind: Kind = "release",
    key: SigningKey = RELEASE,
    merged: int = 0,
    number: int = 0,
    delegation: str | msgspec.UnsetType = msgspec.UNSET,
) -> Delivered:
    """A release of the weights of a seed."""
    arrays = weights(seed)
    message = wire.Release(
        model=device().trusted.model,
        version=name_of(arrays),
        statement=statement(arrays, sequence, kind, key),
        merged=merged,
        delegation=delegation,
    )
    return delivered(message, packed(arrays), number)


def check_in(number: int = 0, delegation: str | msgspec.UnsetType = msgspec.UNSET) -> Delivered:
    """A question who is there."""
    return delivered(wire.CheckIn(delegation=delegation), number=number)


def update(number: int = 1, seed: int = 5) -> tuple[wire.Update, Floats]:
    """What the trainer made for a training task."""
    own = device()
    reply = wire.Update(
        task=task_name(number),
        device=NAME,
        model=own.trusted.model,
        base=own.current.version,
        sequence=3,
        examples=100,
        loss_before=1.0,
        loss_after=0.5,
        data_until_ms=1_000,
    )
    return reply, packed(weights(seed))


def settings(folder: Path) -> AgentSettings:
    """Settings of the device, with the signed bundle and its folders in *folder*."""
    if not (folder / "bundle").exists():
        signed().save(folder / "bundle")
    made = AgentSettings(
        device=NAME,
        bundle=folder / "bundle",
        state=folder / "state",
        clock="trusted",
        trust=Trust(publisher=PUBLISHER.public),
        input=Input(pattern="site/{stream}"),
        federation=Federation(enabled=True, coordinator=URL, poll=Duration(1_000)),
    )
    for path in (made.exchange, made.share):
        path.mkdir(parents=True, exist_ok=True)
    return made


class MemoryConnection:
    """A coordinator in memory: gives what it was told to, and remembers the first answers.

    ``fails`` counts down: at zero, every call finds the coordinator away. With ``late``, an
    answer arrives all the same, and only the word that it did is lost.
    """

    def __init__(
        self, messages: Iterable[Delivered] = (), fails: int = 1_000_000, *, late: bool = False
    ) -> None:
        self.messages = list(messages)
        self.answers: dict[bytes, tuple[bytes, bytes | None]] = {}
        self.fails = fails
        self.late = late
        self.left: bool | None = None
        self.calls = 0
        self._pulled = False

    def open(self) -> None:
        """Be reachable."""
        self._count()

    def pull(self) -> Delivered | None:
        """Give the next message until it is confirmed."""
        self._count()
        self._pulled = bool(self.messages)
        return self.messages[0] if self.messages else None

    def confirm(self) -> None:
        """Drop the message given last."""
        self._count()
        if self._pulled:
            self.messages.pop(0)
        self._pulled = False

    def reply(
        self, flower: bytes, fields: bytes, array: Floats | None
    ) -> Literal["sent", "unwanted"]:
        """Take the first answer to a message."""
        known = flower in self.answers
        answer = (fields, None if array is None else array.tobytes())
        if self.late:
            self.answers.setdefault(flower, answer)
        self._count()
        self.answers.setdefault(flower, answer)
        return "unwanted" if known else "sent"

    def sent(self) -> tuple[int, int]:
        """Count a request of 100 bytes for each call."""
        calls, self.calls = self.calls, 0
        return calls, 100 * calls

    def close(self, *, leave: bool) -> None:
        """Remember whether the device left."""
        self.left = leave

    def _count(self) -> None:
        self.calls += 1
        self.fails -= 1
        if self.fails < 0:
            raise UnreachableError("The coordinator is away.")


PUBLIC_SETTINGS = f"""\
device = "{NAME}"
bundle = "bundle"
clock = "trusted"

[trust]
publisher = "{PUBLISHER.public}"

[input]
pattern = "site/{{stream}}"

[federation]
enabled = true
coordinator = "{URL}"
poll = "1s"
"""
"""The file that :func:`settings` stands for."""
