"""New release keys: what a publisher's later statement changes in a coordinator's folder.

A key is replaced by a statement that names another one, and revoked by one that leaves it out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path

from headwater.errors import BundleError
from headwater_coordinator.database import Database
from headwater_coordinator.decisions import Ruling
from headwater_coordinator.gate import Decision, Paired
from headwater_coordinator.home import Home
from headwater_coordinator.lock import held
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


@dataclass(frozen=True, slots=True)
class Renewed:
    """Who may sign now, and the sequence under which the release was signed anew, if it was."""

    trusted: ModelStatement
    sequence: int | None


def renew(home: Home, statement: Path, key: Path | None, *, by: str, now: int) -> Renewed:
    """Put a publisher's later statement in force while no coordinator runs.

    Where it revokes the key that signed the release, that is signed anew with the next sequence,
    and an open candidate is refused.

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
    bundle = Bundle.load(home.bundle)
    before, first = bundle.verify()
    text = read_bounded(statement, MAX_STATEMENT_BYTES).decode(errors="replace")
    trusted = verify_model(text, model=bundle.model_id, publisher=before.publisher)
    signing = SigningKey.load(key or home.release_key)
    _refuse_unfit(before, trusted, signing)
    with held(home.lock), Database(home.books) as database:
        mine = _Signer(signing, bundle.model_id)
        database.renewed(bundle.model_statement or "", Ruling(by, _words(before, trusted)), now)
        sequence = _sign_release_anew(database, trusted, mine, by, now)
        again = mine.sign(replace(database.versions.find(first.version), sequence=first.sequence))
        if key is not None:
            write_file(home.release_key, key.read_bytes(), mode=0o600)
            write_file(public_path(home.release_key), f"{signing.public}\n".encode())
        version = again if first.key not in trusted.signers else bundle.version_statement
        signed = dataclasses.replace(bundle, model_statement=text, version_statement=version)
        signed.save(home.bundle, replace=True)
    return Renewed(trusted, sequence)


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
    database: Database, trusted: ModelStatement, signer: _Signer, by: str, now: int
) -> int | None:
    """Sign the release with a key that is trusted yet; return its new sequence, if that was due."""
    state = database.load()
    try:
        verify_version(state.release.statement, trusted=trusted)
    except BundleError:
        pass
    else:
        return None
    if state.candidate is not None:
        decision = Decision(False, "refused: the key that signed it was revoked", Paired())
        database.reject(state.candidate, decision, now, by=by)
    anew = replace(state.release, sequence=state.release.sequence + 1)
    anew = replace(anew, statement=signer.sign(anew))
    database.rolled_back(anew, Ruling(by, "signed anew: the key before was revoked"), now)
    return anew.sequence


def _words(before: ModelStatement, trusted: ModelStatement) -> str:
    added = sorted(set(trusted.release_keys) - set(before.release_keys))
    gone = sorted(set(before.release_keys) - set(trusted.release_keys))
    said = [f"delegates to {one[:12]}" for one in added] + [f"revokes {one[:12]}" for one in gone]
    return ", ".join(said) or "delegates to the same keys"
