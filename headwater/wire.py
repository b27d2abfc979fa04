"""What device and coordinator say to each other: task kinds, their fields, and what may leave.

A device sends a :class:`Reply` and at most one packed vector; nothing else can be expressed.
Strings in a reply are names, hashes or words of a fixed list, so that no sensor value and no
free text can travel in one. Both sides encode with :func:`encode` and read with :func:`decode`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, TypeVar

import msgspec

from headwater.errors import PeerError

PROTOCOL = 2
"""Version of the messages below, which every reply states; a peer may be one older.

2: a check-in may carry receipts; a task to train may hold the device to its base, and give it a
budget of time; a task to judge may name the time after which nothing was learned from; a check-in,
a release and a task to judge may bring the publisher's statement.
"""

COMMON = PROTOCOL - 1
"""What a task states, unless it holds something newer: an agent one version older reads it too."""

RECEIPTS = 2
"""The first version in which a check-in may carry receipts."""

TERMS = 2
"""The first version in which a task to train may carry :class:`Train`'s terms."""

PACE = 2
"""The first version in which a check-in may say how often to look for messages."""

LATER = 2
"""The first version in which a task to judge may name :attr:`Evaluate.after_ms`."""

DELEGATION = 2
"""The first version in which check-ins, releases and tasks to judge may carry the publisher's
statement."""

MAX_DELEGATION = 16_384
"""Longest statement of a publisher that travels; it names some two hundred keys."""

MAX_FIELDS_BYTES = 65_536
"""Largest encoded set of fields that is read at all."""

ARRAY = "arrays"
"""Name of the packed float32 vector that a message may carry: weights, or differences of them."""

STATISTICS = "statistics"
"""Name of the packed float64 vector that an update carries instead, of a model that is solved
from statistics."""

COMPRESSED = "compressed"
"""Name of the bytes that an update carries in the place of ``arrays``, where that was asked for."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Receipts = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=1024)], ...], msgspec.Meta(max_length=50)
]

Delegation = Annotated[str, msgspec.Meta(max_length=MAX_DELEGATION)]


class Kind(StrEnum):
    """What the coordinator asks of a device; the values are Flower message types."""

    CHECK_IN = "query.checkin"
    TRAIN = "train"
    EVALUATE = "evaluate"
    RELEASE = "query.release"


class CheckIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="checkin"):
    """Ask a device who it is and what it runs, and say what was received of it.

    ``receipts`` are signed statements (see ``headwater_models.signing``). With ``poll_ms`` the
    device looks for messages no more often than that, until it is told otherwise. ``delegation`` is
    the publisher's signed statement about who may release. All are left out for a device that
    speaks an older protocol.
    """

    receipts: Receipts | msgspec.UnsetType = msgspec.UNSET
    poll_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] | msgspec.UnsetType = msgspec.UNSET
    delegation: Delegation | msgspec.UnsetType = msgspec.UNSET
    protocol: int = COMMON


class Train(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="train"):
    """Ask for an update that starts at the released version *base*; no array.

    The terms are left out where there are none, and for a device that speaks an older protocol:
    ``proximal_mu`` is the weight of half the squared distance to the base, added to the loss;
    after ``budget_ms`` the device sends what it finished. They are for ``replay`` training.
    ``norm_bound`` is the largest Euclidean norm that an update may have, and ``compression`` how it
    is sent (see ``headwater_models.compression``), ``keep`` being the share for ``top-k``.
    """

    task: Hash
    model: Hash
    base: Hash
    round: Count
    epochs: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1e-3
    proximal_mu: Annotated[float, msgspec.Meta(ge=0, le=1_000)] | msgspec.UnsetType = msgspec.UNSET
    budget_ms: Annotated[int, msgspec.Meta(ge=1_000, le=86_400_000)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    norm_bound: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | msgspec.UnsetType = msgspec.UNSET
    compression: Literal["float16", "int8", "top-k"] | msgspec.UnsetType = msgspec.UNSET
    keep: Annotated[float, msgspec.Meta(gt=0, le=1)] | msgspec.UnsetType = msgspec.UNSET
    protocol: int = COMMON


class Evaluate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="eval"):
    """Ask for the losses of a candidate (the array) beside *release* on reserved blocks.

    ``after_ms`` is the event time after which neither has learned from anything: windows that begin
    later than that and a horizon may be judged too. Left out for a device that speaks an older
    protocol.
    """

    task: Hash
    model: Hash
    candidate: Hash
    release: Hash
    round: Count
    statement: str
    """The candidate's signed version statement, as JSON (see ``headwater_models.signing``)."""
    after_ms: Count | msgspec.UnsetType = msgspec.UNSET
    delegation: Delegation | msgspec.UnsetType = msgspec.UNSET
    """As in :class:`Release`."""
    protocol: int = COMMON


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="release"):
    """Hand over a released version; the array holds its packed weights."""

    model: Hash
    version: Hash
    statement: str
    """The signed version statement, as JSON."""
    merged: Count = 0
    """Highest sequence of this device's updates that the version contains; 0: none yet."""
    delegation: Delegation | msgspec.UnsetType = msgspec.UNSET
    """The publisher's signed statement; it may be what makes the version's signature count."""
    protocol: int = COMMON


Task = CheckIn | Train | Evaluate | Release


class CheckedIn(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="checked-in"
):
    """Who the device is, what it runs, and how much it has seen; no array.

    ``alarms`` counts what its drift detectors raised since it took its version; with ``retrain``
    it asks for a round on account of one.
    """

    device: Name
    model: Hash
    version: Hash
    sequence: Count
    records: Count = 0
    examples: Count = 0
    scored: Count = 0
    loss_baseline: float = 0.0
    loss_released: float = 0.0
    loss_personal: float = 0.0
    alarms: Count = 0
    retrain: bool = False
    protocol: int = PROTOCOL


class Update(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="update"):
    """An update: the array is the difference to *base*, packed in the manifest's order.

    Of a model that is solved from statistics it is all that the device has gathered so far on the
    backbone of *base*. It replaces what the device sent before.
    """

    task: Hash
    device: Name
    model: Hash
    base: Hash
    sequence: Count
    examples: Count
    loss_before: float
    loss_after: float
    data_until_ms: Count
    """Event time of the newest example learned from, rounded up to the reserved block's end."""
    protocol: int = PROTOCOL


class Evaluated(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="evaluated"
):
    """Losses on the device's reserved rows; no array. Sums, so that devices can be pooled."""

    task: Hash
    device: Name
    candidate: Hash
    release: Hash
    rows: Count
    loss_candidate: float
    """Mean loss of the candidate over the rows; 0 where there are none."""
    loss_release: float
    loss_baseline: float
    difference_mean: float
    """Mean over rows of (candidate - release)."""
    difference_m2: float
    """Sum over rows of squared deviations of (candidate - release) from its mean."""
    protocol: int = PROTOCOL


class Received(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="received"
):
    """The answer to a release; no array."""

    device: Name
    version: Hash
    accepted: bool
    protocol: int = PROTOCOL


class Declined(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="declined"
):
    """The device will not or cannot do a task; no array."""

    device: Name
    task: Hash
    reason: Literal[
        "unknown-base",
        "wrong-model",
        "too-few-examples",
        "bad-signature",
        "older-sequence",
        "failed",
        "paused",
        "protocol",
    ]
    protocol: int = PROTOCOL


Reply = CheckedIn | Update | Evaluated | Received | Declined

CARRIES_ARRAY = (Evaluate, Release, Update)
"""The messages that have a packed vector; every other one must come without."""

M = TypeVar("M", Task, Reply)

_TASKS: msgspec.json.Decoder[Task] = msgspec.json.Decoder(Task)
_REPLIES: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode(message: Task | Reply) -> bytes:
    """Encode the fields of a message as canonical JSON."""
    return _ENCODER.encode(message)


def decode_task(fields: bytes) -> Task:
    """Read a task.

    Raises
    ------
    PeerError
        When the fields are too long, not JSON, of another protocol, or not those of a task.
    """
    return _checked(fields, _TASKS, "coordinator")


def decode_reply(fields: bytes) -> Reply:
    """Read a reply; raises as :func:`decode_task` does."""
    return _checked(fields, _REPLIES, "device")


def _checked(fields: bytes, decoder: msgspec.json.Decoder[M], sender: str) -> M:
    if len(fields) > MAX_FIELDS_BYTES:
        raise PeerError(
            f"The {sender} sent {len(fields)} bytes of fields; at most {MAX_FIELDS_BYTES} are read."
        )
    try:
        message = decoder.decode(fields)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerError(f"The {sender} sent a message that the protocol lacks: {error}.") from error
    if message.protocol not in (PROTOCOL, PROTOCOL - 1):
        raise PeerError(
            f"The {sender} speaks protocol {message.protocol}, this side speaks {PROTOCOL}; "
            "update the older of the two."
        )
    return message
