"""Make a coordinator's home: certificates, keys, the signed bundle, the first release."""

from __future__ import annotations

import dataclasses
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from headwater.errors import BundleError, StorageError
from headwater_coordinator.certificates import make_authority, make_server_certificate
from headwater_coordinator.database import Database
from headwater_coordinator.home import Home, write_secret
from headwater_coordinator.location import SQLITE, with_url
from headwater_coordinator.mergeable import refuse_unmergeable
from headwater_coordinator.registry import Registry
from headwater_coordinator.settings import read_settings
from headwater_coordinator.state import Version
from headwater_coordinator.template import TEMPLATE
from headwater_models.bundle import Bundle
from headwater_models.files import write_file
from headwater_models.keys import SigningKey, public_path
from headwater_models.signing import sign_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What ``init`` was asked for.

    ``names`` are the hosts or addresses by which devices reach this machine; ``publisher_key``
    and ``release_key`` are private keys to use, None: one is made where one is needed;
    ``database`` is where the books shall lie, as in the settings.
    """

    bundle: Path
    names: Sequence[str] = ()
    host: str = "127.0.0.1"
    port: int = 8443
    superlink_port: int = 8444
    database: str = SQLITE
    publisher_key: Path | None = None
    release_key: Path | None = None


def initialise(home: Home, wishes: Wishes, now: int) -> Bundle:
    """Make the folder and everything in it; return the bundle as devices must have it.

    Parameters
    ----------
    home
        A folder that is not there or is empty.
    wishes
        What was asked for.
    now
        UTC milliseconds.

    Raises
    ------
    StorageError
        When the folder is not empty or cannot be written, or the database cannot be used or holds
        books already.
    SettingsError
        When the database's URL cannot be used.
    BundleError
        When the bundle is damaged, or signed by a publisher who has not delegated to this
        coordinator's release key.
    UnsupportedError
        When the model has arrays that cannot be merged here.
    """
    if home.root.exists() and any(home.root.iterdir()):
        raise StorageError(f"{home.root} is not empty; choose a new folder for the coordinator.")
    bundle = Bundle.load(wishes.bundle)
    refuse_unmergeable(bundle.manifest)
    home.make()
    try:
        _make_certificates(home, wishes.names, now)
        release_key = _key(home.release_key, wishes.release_key)
        bundle = _signed(home, bundle, wishes.publisher_key, release_key, now)
        bundle.save(home.bundle)
        _write_settings(home, wishes)
        _enter_first_release(home, bundle, now)
    except BaseException:
        shutil.rmtree(home.root, ignore_errors=True)
        raise
    return bundle


def _write_settings(home: Home, wishes: Wishes) -> None:
    text = TEMPLATE.format(host=wishes.host, port=wishes.port, superlink_port=wishes.superlink_port)
    if wishes.database != SQLITE:
        text = with_url(text, wishes.database)
    write_file(home.settings, text.encode())
    read_settings(home.settings)


def _make_certificates(home: Home, names: Sequence[str], now: int) -> None:
    today = datetime.fromtimestamp(now / 1000, UTC)
    authority_key, authority = make_authority(today)
    server_key, server = make_server_certificate(authority_key, authority, names, today)
    write_secret(home.authority_key, authority_key)
    write_secret(home.certificate_key, server_key)
    write_secret(home.executor_secret, secrets.token_bytes(32))
    write_file(home.authority, authority)
    write_file(home.certificate, server)


def _key(place: Path, given: Path | None) -> SigningKey:
    """Make a signing key at *place*, or put the given one there."""
    if given is None:
        return SigningKey.create(place)
    key = SigningKey.load(given)
    write_secret(place, given.read_bytes())
    write_file(public_path(place), f"{key.public}\n".encode())
    return key


def _signed(
    home: Home, bundle: Bundle, publisher_key: Path | None, release_key: SigningKey, now: int
) -> Bundle:
    """Return the bundle with a publisher's statement that lets the release key speak."""
    if bundle.model_statement is None or bundle.version_statement is None:
        publisher = (
            SigningKey.load(publisher_key)
            if publisher_key
            else SigningKey.create(home.publisher_key)
        )
        return bundle.sign(publisher, delegates=[release_key.public], created=now)
    model, _ = bundle.verify()
    if release_key.public in model.signers:
        return bundle
    if publisher_key is None:
        raise BundleError(
            f"The bundle's publisher {model.publisher[:12]} has not delegated to a release key "
            "that this coordinator holds. Either give the publisher's key with --publisher-key, "
            "or let the publisher run `headwater model sign BUNDLE --key KEY --delegate PUBLIC` "
            "for a key made with `headwater model key new` and give that one with --release-key."
        )
    publisher = SigningKey.load(publisher_key)
    if publisher.public != model.publisher:
        raise BundleError(
            f"{publisher_key} is not the key of the bundle's publisher {model.publisher[:12]}."
        )
    keys = (*model.release_keys, release_key.public)
    statement = sign_model(publisher, model=bundle.model_id, release_keys=keys, created=now)
    return dataclasses.replace(bundle, model_statement=statement)


def _enter_first_release(home: Home, bundle: Bundle, now: int) -> None:
    _, version = bundle.verify()
    Registry(home.versions, bundle.manifest).save(bundle.version_id, bundle.weights)
    first = Version(
        bundle.version_id,
        version.sequence,
        version.parent or "",
        bundle.version_statement or "",
        now,
    )
    with Database(home.books) as database:
        database.begin(first, now)
