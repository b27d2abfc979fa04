"""``init`` makes a folder from which a coordinator can run, and refuses what could not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from headwater.errors import BundleError, StorageError
from headwater_coordinator.database import Database
from headwater_coordinator.home import Home
from headwater_coordinator.initialise import Wishes, initialise
from headwater_coordinator.location import SQLITE
from headwater_coordinator.settings import read_settings
from headwater_coordinator.status import read_status
from headwater_models.bundle import Bundle
from headwater_models.keys import SigningKey
from headwater_models.signing import sign_version, verify_version
from tests.models.bundles import CREATED, PUBLISHER, tiny
from tests.postgresql import PostgresqlServer

NOW = 1_700_000_000_000


def save(folder: Path, bundle: Bundle) -> Path:
    bundle.save(folder / "bundle")
    return folder / "bundle"


def write_key(path: Path) -> SigningKey:
    return SigningKey.create(path)


def release_by(home: Home) -> str:
    """A statement about some version, signed with the coordinator's release key."""
    key = SigningKey.load(home.release_key)
    return sign_version(
        key, kind="release", model=tiny().model_id, version="9" * 64, sequence=2, parent="8" * 64
    )


def test_an_unsigned_bundle_is_signed_by_a_publisher_made_for_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    made = initialise(home, Wishes(bundle=save(tmp_path, tiny())), NOW)

    trusted, first = made.verify(publisher=SigningKey.load(home.publisher_key).public)
    assert (first.sequence, first.version) == (1, tiny().version_id)
    verify_version(release_by(home), trusted=trusted)
    assert Bundle.load(home.bundle).version_id == tiny().version_id


def test_the_first_release_is_the_bundles_weights(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    initialise(home, Wishes(bundle=save(tmp_path, tiny())), NOW)
    with Database(home.database) as database:
        state = database.load()
    assert (state.release.name, state.release.sequence) == (tiny().version_id, 1)
    assert (home.versions / f"{tiny().version_id}.safetensors").exists()


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    initialise(home, Wishes(bundle=save(tmp_path, tiny())), NOW)
    assert stat.S_IMODE(home.keys.stat().st_mode) == 0o700
    for secret in (
        home.release_key,
        home.publisher_key,
        home.certificate_key,
        home.authority_key,
        home.executor_secret,
    ):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_the_settings_say_what_was_asked_for(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    wishes = Wishes(bundle=save(tmp_path, tiny()), host="192.0.2.7", port=9443, superlink_port=9444)
    initialise(home, wishes, NOW)
    settings = read_settings(home.settings)
    assert (settings.front.host, settings.front.port) == ("192.0.2.7", 9443)
    assert settings.superlink.port == 9444


def test_a_publisher_delegates_with_its_key(tmp_path: Path) -> None:
    publisher = write_key(tmp_path / "publisher.key")
    home = Home(tmp_path / "home")
    bundle = save(tmp_path, tiny().sign(publisher, created=CREATED))
    wishes = Wishes(bundle=bundle, publisher_key=tmp_path / "publisher.key")

    made = initialise(home, wishes, NOW)

    trusted, _ = made.verify(publisher=publisher.public)
    verify_version(release_by(home), trusted=trusted)
    assert not home.publisher_key.exists()


def test_a_publisher_may_delegate_beforehand(tmp_path: Path) -> None:
    release = write_key(tmp_path / "release.key")
    home = Home(tmp_path / "home")
    signed = tiny().sign(PUBLISHER, delegates=[release.public], created=CREATED)
    wishes = Wishes(bundle=save(tmp_path, signed), release_key=tmp_path / "release.key")

    made = initialise(home, wishes, NOW)

    assert made.model_statement == signed.model_statement
    verify_version(release_by(home), trusted=made.verify()[0])


def test_a_publisher_who_has_not_delegated_is_asked_to(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    bundle = save(tmp_path, tiny().sign(PUBLISHER, created=CREATED))
    with pytest.raises(BundleError, match="--publisher-key"):
        initialise(home, Wishes(bundle=bundle), NOW)
    assert not home.root.exists()


def test_another_publishers_key_is_refused(tmp_path: Path) -> None:
    write_key(tmp_path / "other.key")
    bundle = save(tmp_path, tiny().sign(PUBLISHER, created=CREATED))
    wishes = Wishes(bundle=bundle, publisher_key=tmp_path / "other.key")
    with pytest.raises(BundleError, match="is not the key of the bundle's publisher"):
        initialise(Home(tmp_path / "home"), wishes, NOW)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    (home.root / "mine").write_text("keep")
    with pytest.raises(StorageError, match="is not empty"):
        initialise(home, Wishes(bundle=save(tmp_path, tiny())), NOW)
    assert (home.root / "mine").read_text() == "keep"


@pytest.mark.both_engines
def test_the_books_are_made_where_they_shall_lie(tmp_path: Path, database: str) -> None:
    home = Home(tmp_path / "home")
    initialise(home, Wishes(bundle=save(tmp_path, tiny()), database=database), NOW)
    assert read_settings(home.settings).database.url == database
    assert read_status(home.books).release == tiny().version_id
    assert home.database.exists() == (database == SQLITE)


def test_a_database_that_holds_books_is_left_alone(
    tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    url = postgresql.url(postgresql.new_schema())
    wishes = Wishes(bundle=save(tmp_path, tiny()), database=url)
    initialise(Home(tmp_path / "home"), wishes, NOW)
    before = read_status(url)
    with pytest.raises(StorageError, match="holds books already; name an empty database"):
        initialise(Home(tmp_path / "other"), wishes, NOW)
    assert read_status(url) == before
    assert not (tmp_path / "other").exists()
