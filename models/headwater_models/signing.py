"""Who may say what a model and its versions are, and what was received: signed statements.

The publisher signs a *model statement*: the model's id and the release keys that may speak for
it. A release key (or the publisher) signs a *version statement*: a version, its place in the
order, and its parent; or a *receipt* for a device's message. A publisher's key that is replaced
signs a *succession*: the key that comes after it. All are JSON objects
``{"statement": ..., "key": ..., "signature": ...}`` in which the signature covers the statement's
bytes exactly as they stand, behind a prefix that says of which kind they are, so that no statement
can pass for one of another kind.

The sequence of a model's statements only ever rises. A rollback is a new statement with a higher
sequence that names an older version, so a device refuses every sequence that is not above its
own, without exception, and an old statement can never be played again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater.wire import Count, Hash, Name
from headwater_models.keys import PublicKey, Signature, SigningKey, verifies
from headwater_models.manifest import Manifest
from headwater_models.weights import check_weights

MAX_STATEMENT_BYTES = 65_536
"""Longest statement that is read at all."""

_MODEL = b"headwater model statement 1\n"
_VERSION = b"headwater version statement 1\n"
_RECEIPT = b"headwater receipt statement 1\n"
_SUCCESSION = b"headwater succession statement 1\n"

MAX_SUCCESSIONS = 16
"""How often the key of a model's publisher can be replaced."""


class ModelStatement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag="model",
):
    """The publisher says: this is my model, and these keys may release versions of it.

    Of two statements about a model the one with the later ``created`` holds, so a release key is
    revoked by a new statement without it.
    """

    model: Hash
    publisher: PublicKey
    release_keys: tuple[PublicKey, ...] = ()
    created: Count
    """UTC milliseconds."""
    successions: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_SUCCESSIONS)] = ()
    """How the publisher's key came to be this one: each signed by the key that was replaced, the
    oldest first (:class:`Succession`)."""

    @property
    def signers(self) -> tuple[PublicKey, ...]:
        """The keys that may sign versions: the publisher's own and those it delegates to."""
        return (self.publisher, *self.release_keys)


class VersionStatement(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="version"
):
    """A release key says what a version is.

    A ``release`` comes next, a ``rollback`` brings an older version back, and a ``candidate`` may
    be judged but never served.
    """

    kind: Literal["release", "candidate", "rollback"]
    model: Hash
    version: Hash
    sequence: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    parent: Hash | None = None
    """The version whose weights this one was learned from; none for the first."""
    key: PublicKey
    """The key that signs, one of the model statement's signers."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="receipt"):
    """A release key says that the coordinator received a message of a device.

    ``message`` is its digest (:func:`headwater.objects.digest`), ``kind`` its tag on the wire, and
    ``task`` what it answers, where that has a name. ``number`` is the coordinator's own.
    """

    model: Hash
    device: Name
    number: Count
    kind: Name
    message: Hash
    task: Hash | None
    time_ms: Count
    """When it was received, in UTC milliseconds of the coordinator."""
    key: PublicKey


class Succession(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="succession"
):
    """A publisher's key says which key speaks for the publisher from now on."""

    publisher: PublicKey
    successor: PublicKey
    created: Count
    """UTC milliseconds."""


S = TypeVar("S", ModelStatement, VersionStatement, Receipt, Succession)


class _Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    statement: msgspec.Raw
    key: PublicKey
    signature: Signature


def sign_model(
    key: SigningKey,
    *,
    model: str,
    release_keys: Iterable[str] = (),
    created: int,
    successions: Iterable[str] = (),
) -> str:
    """Sign as the publisher that *model* is yours and that *release_keys* may speak for it.

    Returns
    -------
    str
        The signed statement as JSON, for :func:`verify_model`.
    """
    statement = ModelStatement(
        model=model,
        publisher=key.public,
        release_keys=tuple(release_keys),
        created=created,
        successions=tuple(successions),
    )
    return _sign(_MODEL, statement, key)


def sign_succession(key: SigningKey, *, successor: str, created: int) -> str:
    """Sign as the publisher that *successor* speaks for you from now on, in the place of *key*."""
    statement = Succession(publisher=key.public, successor=successor, created=created)
    return _sign(_SUCCESSION, statement, key)


def sign_version(
    key: SigningKey,
    *,
    kind: Literal["release", "candidate", "rollback"],
    model: str,
    version: str,
    sequence: int,
    parent: str | None = None,
) -> str:
    """Sign a version of *model* with a release key; see :class:`VersionStatement`."""
    statement = VersionStatement(
        kind=kind, model=model, version=version, sequence=sequence, parent=parent, key=key.public
    )
    return _sign(_VERSION, statement, key)


def sign_receipt(
    key: SigningKey,
    *,
    model: str,
    device: str,
    number: int,
    kind: str,
    message: str,
    task: str | None,
    time_ms: int,
) -> str:
    """Sign with a release key that a device's message was received; see :class:`Receipt`."""
    receipt = Receipt(
        model=model,
        device=device,
        number=number,
        kind=kind,
        message=message,
        task=task,
        time_ms=time_ms,
        key=key.public,
    )
    return _sign(_RECEIPT, receipt, key)


def verify_receipt(statement: str, *, trusted: ModelStatement | None = None) -> Receipt:
    """Read a receipt once its signature is proved.

    Without *trusted* this proves only that the key it names has signed it.

    Raises
    ------
    BundleError
        When it is damaged, falsely signed, about another model, or of a key without the right.
    """
    found, key = _verify(_RECEIPT, statement, Receipt)
    if key != found.key:
        raise BundleError("The receipt is not signed by the key it names.")
    if trusted is not None:
        _check_model(found.model, trusted.model)
        if key not in trusted.signers:
            raise BundleError(
                f"The receipt is signed by {_short(key)}, to which the model's publisher does not "
                "delegate."
            )
    return found


def verify_model(
    statement: str | bytes, *, model: str | None = None, publisher: str | None = None
) -> ModelStatement:
    """Read a model statement once its signature is proved.

    Without *publisher* this proves only that the key it names has signed it; with it, that this is
    the publisher's key, or came in its place.

    Raises
    ------
    BundleError
        When it is damaged, falsely signed, about another model, or of another publisher.
    """
    found, key = _verify(_MODEL, statement, ModelStatement)
    if key != found.publisher:
        raise BundleError("The model statement is not signed by the publisher it names.")
    keys = (found.publisher, *_replaced(found))
    if publisher is not None and publisher not in keys:
        raise BundleError(
            f"The model is published by {_short(found.publisher)}, but {_short(publisher)} is "
            "the publisher trusted here; get the bundle from its publisher or trust that key."
        )
    _check_model(found.model, model)
    return found


def _replaced(statement: ModelStatement) -> list[str]:
    """Return the publisher's former keys, once it is proved how each came to be the next."""
    former: list[str] = []
    links = [_verify(_SUCCESSION, text, Succession) for text in statement.successions]
    successors = [*(link.publisher for link, _ in links[1:]), statement.publisher]
    for (link, key), successor in zip(links, successors, strict=False):
        if key != link.publisher:
            raise BundleError("A succession is not signed by the key that it replaces.")
        if link.successor != successor:
            raise BundleError("The successions of the model statement do not lead to its key.")
        former.append(key)
    return former


def later(trusted: ModelStatement, statement: str | bytes) -> ModelStatement:
    """Return the later of two statements of one publisher about one model.

    A key that was replaced speaks for the publisher no more, once its successor is believed.

    Parameters
    ----------
    trusted
        What holds so far.
    statement
        The signed JSON of another.

    Raises
    ------
    BundleError
        When *statement* is damaged, falsely signed, about another model, or of another publisher.
    """
    found = verify_model(statement, model=trusted.model, publisher=trusted.publisher)
    return found if found.created > trusted.created else trusted


def verify_version(
    statement: str | bytes, *, trusted: ModelStatement | str, model: str | None = None
) -> VersionStatement:
    """Read a version statement once its signature is proved.

    Parameters
    ----------
    statement
        The signed JSON.
    trusted
        A verified model statement, whose signers are accepted; or one public key alone.
    model
        The model it must be about; that of *trusted* where it is a model statement.

    Raises
    ------
    BundleError
        When it is damaged, falsely signed, about another model, or of a key without the right.
    """
    found, key = _verify(_VERSION, statement, VersionStatement)
    signers = (trusted,) if isinstance(trusted, str) else trusted.signers
    if key != found.key:
        raise BundleError("The version statement is not signed by the key it names.")
    if key not in signers:
        raise BundleError(
            f"The version is signed by {_short(key)}, to which the model's publisher does not "
            "delegate; ask the publisher for a model statement that names this key."
        )
    if isinstance(trusted, ModelStatement):
        _check_model(found.model, trusted.model)
    _check_model(found.model, model)
    return found


def check_follows(current: VersionStatement | None, statement: VersionStatement) -> None:
    """Refuse a statement that may not replace the *current* one on a device.

    Raises
    ------
    BundleError
        When it is a candidate, about another model, or its sequence is not above the current's.
    """
    if statement.kind == "candidate":
        raise BundleError(f"Version {_short(statement.version)} is a candidate: never served.")
    if current is None:
        return
    _check_model(statement.model, current.model)
    if statement.sequence <= current.sequence:
        raise BundleError(
            f"The {statement.kind} has sequence {statement.sequence}, but {current.sequence} is "
            "here already; to go back to an older version, sign a rollback with a higher sequence."
        )


def check_change(
    manifest: Manifest,
    parent: Mapping[str, NDArray[np.float32]],
    weights: Mapping[str, NDArray[np.float32]],
) -> None:
    """Refuse weights that change what a release key may not.

    A release may change what devices learn together (``mean``, unless frozen) and what follows
    from their statistics (``solved``), and nothing else.

    Raises
    ------
    BundleError
        When the weights do not fit the manifest, or a local or frozen array differs in a single
        bit.
    """
    check_weights(manifest, weights)
    for array in manifest.arrays:
        fixed = array.frozen or array.merge == "local"
        if fixed and weights[array.name].tobytes() != parent[array.name].tobytes():
            how = "keeps local to each device" if array.merge == "local" else "freezes"
            raise BundleError(f"The version changes {array.name}, which the manifest {how}.")


def _sign(
    prefix: bytes,
    statement: ModelStatement | VersionStatement | Receipt | Succession,
    key: SigningKey,
) -> str:
    text = msgspec.json.encode(statement)
    msgspec.json.decode(text, type=type(statement))  # structs check their fields when decoded
    signed = _Signed(statement=msgspec.Raw(text), key=key.public, signature=key.sign(prefix + text))
    return msgspec.json.encode(signed).decode()


def _verify(prefix: bytes, text: str | bytes, kind: type[S]) -> tuple[S, str]:
    """Return the statement and the key that has signed it, of which nothing is known yet."""
    data = text.encode() if isinstance(text, str) else text
    what = f"The {kind.__struct_config__.tag} statement"
    if len(data) > MAX_STATEMENT_BYTES:
        raise BundleError(f"{what} is longer than {MAX_STATEMENT_BYTES} bytes.")
    try:
        signed = msgspec.json.decode(data, type=_Signed)
        if msgspec.json.encode(signed) != data:
            raise BundleError(f"{what} was changed after it was signed.")
        if not verifies(signed.key, signed.signature, prefix + bytes(signed.statement)):
            raise BundleError(f"{what} was changed after it was signed, or signed by another key.")
        return msgspec.json.decode(signed.statement, type=kind), signed.key
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{what} is damaged: {error}.") from error


def _check_model(found: str, expected: str | None) -> None:
    if expected is not None and found != expected:
        raise BundleError(
            f"The statement is about model {_short(found)}, not about {_short(expected)}."
        )


def _short(name: str) -> str:
    return name[:12]
