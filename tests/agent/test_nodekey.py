from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from headwater.errors import StorageError
from headwater_agent.nodekey import fingerprint_of, make_key, read_key
from tests.conftest import skip_or_fail


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    first = make_key(tmp_path / "exchange")
    assert make_key(tmp_path / "exchange") == first
    key = read_key(tmp_path / "exchange" / "node.key")
    assert fingerprint_of(key) == first


def test_the_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    make_key(tmp_path)
    assert (tmp_path / "node.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "node.key").chmod(0o640)
    with pytest.raises(StorageError, match="can be read by others; run `chmod 600"):
        read_key(tmp_path / "node.key")


def test_the_public_key_is_one_that_flower_registers(tmp_path: Path) -> None:
    make_key(tmp_path)
    public = serialization.load_ssh_public_key((tmp_path / "node.pub").read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp384r1"


def test_the_fingerprint_is_the_one_that_ssh_keygen_shows(tmp_path: Path) -> None:
    program = shutil.which("ssh-keygen")
    if program is None:
        skip_or_fail("ssh-keygen is not installed")
    assert program is not None
    made = make_key(tmp_path)
    command = [program, "-l", "-f", str(tmp_path / "node.pub")]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown.split()[1] == made


def test_a_missing_foreign_or_damaged_key_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    with pytest.raises(StorageError, match=r"cannot be read: .*agent init` makes one"):
        read_key(path)
    path.touch(mode=0o600)
    with pytest.raises(StorageError, match="is not a private key in OpenSSH's format"):
        read_key(path)
    small = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(
        small.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(StorageError, match="is not a P-384 key"):
        read_key(path)
