"""Keys: made once, readable by their owner alone, and never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from headwater.errors import SettingsError, StorageError
from headwater_models.keys import SigningKey, public_path, read_public, verifies
from tests.models.bundles import PUBLISHER, STRANGER


def test_a_key_is_read_back_from_its_file(tmp_path: Path) -> None:
    made = SigningKey.create(tmp_path / "k")
    loaded = SigningKey.load(tmp_path / "k")
    assert loaded.public == made.public == read_public(str(public_path(tmp_path / "k")))
    assert verifies(made.public, loaded.sign(b"data"), b"data")


def test_only_the_owner_can_read_a_new_private_key(tmp_path: Path) -> None:
    SigningKey.create(tmp_path / "k")
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600


def test_a_key_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    made = SigningKey.create(tmp_path / "k")
    with pytest.raises(StorageError, match="cannot be created: File exists"):
        SigningKey.create(tmp_path / "k")
    assert SigningKey.load(tmp_path / "k").public == made.public


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o602])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    SigningKey.create(tmp_path / "k")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(StorageError, match="chmod 600"):
        SigningKey.load(tmp_path / "k")


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("hello")
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(SettingsError, match="no private key in PEM"):
        SigningKey.load(tmp_path / "k")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    other = X25519PrivateKey.generate()
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "k").write_bytes(pem)
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(SettingsError, match="no Ed25519 key"):
        SigningKey.load(tmp_path / "k")


def test_a_missing_key_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        SigningKey.load(tmp_path / "k")


def test_a_key_does_not_show_its_secret() -> None:
    assert repr(PUBLISHER) == f"SigningKey(public='{PUBLISHER.public}')"


def test_the_signature_is_that_of_the_standard() -> None:
    """RFC 8032, section 7.1, test 2."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = SigningKey.from_seed(seed)
    assert key.public == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").startswith("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223")


def test_a_signature_holds_for_its_data_and_its_key_only() -> None:
    signature = PUBLISHER.sign(b"data")
    assert verifies(PUBLISHER.public, signature, b"data")
    assert not verifies(PUBLISHER.public, signature, b"Data")
    assert not verifies(STRANGER.public, signature, b"data")
    assert not verifies("f" * 64, signature, b"data")


@pytest.mark.parametrize("text", ["", "xyz", "ab" * 31, "AB" * 32, "/no/such/file"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="no public key"):
        read_public(text)


def test_a_public_key_may_have_white_space_around_it() -> None:
    assert read_public(f" {PUBLISHER.public}\n") == PUBLISHER.public
