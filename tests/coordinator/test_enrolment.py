"""Devices are let in by public keys; anything else is refused with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from headwater.errors import SettingsError
from headwater_agent import nodekey
from headwater_coordinator.enrolment import enrolled, fingerprint, read_public_key, remember


def test_a_device_and_the_coordinator_name_a_key_alike(tmp_path: Path) -> None:
    shown = nodekey.make_key(tmp_path)
    assert fingerprint(read_public_key(tmp_path / "node.pub")) == shown


def test_a_remembered_key_comes_back_once(tmp_path: Path) -> None:
    nodekey.make_key(tmp_path)
    key = read_public_key(tmp_path / "node.pub")
    folder = tmp_path / "nodes"
    folder.mkdir()

    remember(folder, key)
    remember(folder, key)

    assert [fingerprint(one) for one in enrolled(folder)] == [fingerprint(key)]


def test_a_private_key_is_refused_as_what_it_is(tmp_path: Path) -> None:
    nodekey.make_key(tmp_path)
    with pytest.raises(SettingsError, match=r"private key, which must never leave.*node\.pub"):
        read_public_key(tmp_path / "node.key")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"node\.pub cannot be read"):
        read_public_key(tmp_path / "node.pub")


@pytest.mark.parametrize("kind", ["text", "ed25519", "p256"])
def test_a_key_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    keys: dict[str, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey] = {
        "ed25519": ed25519.Ed25519PrivateKey.generate().public_key(),
        "p256": ec.generate_private_key(ec.SECP256R1()).public_key(),
    }
    content = (
        keys[kind].public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        if kind in keys
        else b"hello"
    )
    path = tmp_path / "node.pub"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="not a"):
        read_public_key(path)
