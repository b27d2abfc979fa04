"""New release keys: what a publisher's later statement changes in a coordinator's folder.

A key is replaced by a statement that names another one, and revoked by one that leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from headwater.errors import BundleError
from headwater.wire import MAX_DELEGATION
from headwater_coordinator.database import Database
from headwater_coordinator.decisions import Ruling
from headwater_coordinator.gate import Decision, Paired
from headwater_coordinator.home import Home
from headwater_coordinator.lock import held
from headwater_coordinator.requests import Request
from headwater_coordinator.state import Version
from headwater_models.bundle import Bundle
from headwater_models.files import read_bounded, write_file
from headwater_models.keys import SigningKey, public_path
from headwater_models.signing import (
    MAX_STATEMENT_BYTES,
    ModelStatement,
    sign_version,
    verify_model,
    verify_version,
)

REVOKED = "the key that signed it was revoked"


@dataclass(frozen=True, slots=True)
class Renewed:
    """Who may sign now, with which key this coordinator does, and the release if it was renewed.

    ``merged`` has, for each node, the highest sequence of its updates that the release contains.
    """

    trusted: ModelStatement
    key: SigningKey
    release: Version | None = None
    merged: Mapping[str, int] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What came of it, in sentences."""
        keys = ", ".join(key[:12] for key in self.trusted.release_keys) or "nobody else"
        anew = ""
        if self.release is not None:
            anew = f" The release is signed anew with sequence {self.release.sequence}."
        return (
            f"The publisher delegates to {keys}.{anew} Devices are told with what is sent to them "
            "next."
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A statement that may be put in force, and the key to sign with from then on."""

    bundle: Bundle
    before: ModelStatement
    text: str
    trusted: ModelStatement
    key: SigningKey
    path: Path

    def holds(self, version: Version) -> bool:
        """Say whether a version's statement is of a key that may still sign."""
        try:
            verify_version(version.statement, trusted=self.trusted)
        except BundleError:
            return False
        return True


def renew(home: Home, statement: Path, key: Path | None, *, by: str, now: int) -> Renewed:
    """Put a publisher's later statement in force while no coordinator runs.

    Where it revokes the key that signed the release, that is signed anew with the next sequence; an
    open candidate of a revoked key is refused.

    Parameters
    ----------
    statement
        ``model.sig.json`` of the bundle that the publisher signed anew.
    key
        The private release key to sign with from now on; None: the one that is there.
    by
        Who asks.
    now
        UTC milliseconds.

    Raises
    ------
    BundleError
        When the statement is not of the model's publisher, not later than the one in force, or
        does not delegate to the key.
    StorageError
        When a coordinator runs, or something cannot be read or written.
    """
    change = _prepare(home, _read(statement), key or home.release_key)
    with held(home.lock), Database(home.books) as database:
        candidate = database.load().candidate
        if candidate is not None and not change.holds(candidate):
            database.reject(candidate, Decision(False, f"refused: {REVOKED}", Paired()), now, by=by)
        return put_in_force(home, database, change, by, now)


def renewal_request(home: Home, statement: Path, key: Path | None, *, by: str) -> Request:
    """Return the request to put a statement in force, for the coordinator that runs.

    The key is laid beside the one that signs now; raises as :func:`renew` does.
    """
    change = _prepare(home, _read(statement), key or home.release_key)
    if key is not None:
        write_file(home.next_release_key, key.read_bytes(), mode=0o600)
    return Request("renew", statement=change.text, key=change.key.public, by=by)


def planned(home: Home, request: Request) -> Change:
    """Return what such a request comes to, proved again; raises as :func:`renew` does."""
    path = home.release_key
    if SigningKey.load(path).public != request.key:
        path = home.next_release_key
    change = _prepare(home, request.statement, path)
    if change.key.public != request.key:
        raise BundleError("Another key lies in keys/release.key.next by now; ask again.")
    return change


def _read(statement: Path) -> str:
    return read_bounded(statement, MAX_STATEMENT_BYTES).decode(errors="replace")


def _prepare(home: Home, text: str, path: Path) -> Change:
    """Refuse what may not be put in force."""
    bundle = Bundle.load(home.bundle)
    before, _ = bundle.verify()
    trusted = verify_model(text, model=bundle.model_id, publisher=before.publisher)
    key = SigningKey.load(path)
    _refuse_unfit(before, trusted, key)
    if len(text) > MAX_DELEGATION:
        raise BundleError(
            f"The statement has {len(text)} characters; more than {MAX_DELEGATION} do not travel "
            "to devices. Let it name fewer keys."
        )
    return Change(bundle, before, text, trusted, key, path)


def put_in_force(home: Home, database: Database, change: Change, by: str, now: int) -> Renewed:
    """Change books, keys and bundle; an open candidate of a revoked key must be refused before."""
    bundle, trusted, key = change.bundle, change.trusted, change.key
    signer = _Signer(key, bundle.model_id)
    words = Ruling(by, _words(change.before, trusted))
    database.renewed(bundle.model_statement or "", words, now)
    renewed = _sign_release_anew(database, change, signer, by, now)
    first = bundle.verify()[1]
    again = signer.sign(replace(database.versions.find(first.version), sequence=first.sequence))
    if change.path != home.release_key:
        write_file(home.release_key, change.path.read_bytes(), mode=0o600)
        write_file(public_path(home.release_key), f"{key.public}\n".encode())
    version = again if first.key not in trusted.signers else bundle.version_statement
    signed = replace(bundle, model_statement=change.text, version_statement=version)
    signed.save(home.bundle, replace=True)
    home.next_release_key.unlink(missing_ok=True)
    return renewed


@dataclass(frozen=True, slots=True)
class _Signer:
    key: SigningKey
    model: str

    def sign(self, version: Version) -> str:
        """Sign a version as one to be served."""
        return sign_version(
            self.key,
            kind="rollback" if version.sequence > 1 else "release",
            model=self.model,
            version=version.name,
            sequence=version.sequence,
            parent=version.parent or None,
        )


def _refuse_unfit(before: ModelStatement, trusted: ModelStatement, key: SigningKey) -> None:
    if trusted.created <= before.created:
        raise BundleError("The statement is not later than the one in force; it changes nothing.")
    if key.public not in trusted.signers:
        raise BundleError(
            f"The statement does not delegate to release key {key.public[:12]}; give one that it "
            "names with --release-key."
        )


def _sign_release_anew(
    database: Database, change: Change, signer: _Signer, by: str, now: int
) -> Renewed:
    """Sign the release with the key if the one that signed it is trusted no more."""
    renewed, release = Renewed(change.trusted, change.key), database.load().release
    if change.holds(release):
        return renewed
    anew = replace(release, sequence=release.sequence + 1)
    anew = replace(anew, statement=signer.sign(anew))
    ruling = Ruling(by, "signed anew: the key before was revoked")
    merged = database.rolled_back(anew, ruling, now)
    return replace(renewed, release=anew, merged=merged)


def _words(before: ModelStatement, trusted: ModelStatement) -> str:
    added = sorted(set(trusted.release_keys) - set(before.release_keys))
    gone = sorted(set(before.release_keys) - set(trusted.release_keys))
    said = [f"delegates to {one[:12]}" for one in added] + [f"revokes {one[:12]}" for one in gone]
    if trusted.publisher != before.publisher:
        said.append(
            f"publishes with {trusted.publisher[:12]}, no more with {before.publisher[:12]}"
        )
    return ", ".join(said) or "delegates to the same keys"
