"""Ed25519 keys: a private key is a PEM file of its owner, a public key one line of hexadecimal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from headwater.errors import SettingsError, StorageError
from headwater_models.files import storage_errors

PublicKey = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
"""The 32 bytes of an Ed25519 public key in lower-case hexadecimal."""

Signature = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}$")]

_OTHERS = 0o027
_LARGEST = 65_536


class SigningKey:
    """A private key; ``public`` names it and verifies what it signs."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: str = private.public_key().public_bytes_raw().hex()

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public!r})"

    @classmethod
    def create(cls, path: Path) -> SigningKey:
        """Make a new key in a new file that only its owner can read, and ``PATH.pub`` beside it.

        Raises
        ------
        StorageError
            When the file is there already or cannot be written.
        """
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - 1 MB
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        key = cls(Ed25519PrivateKey.generate())
        pem = key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_new(path, pem, 0o600)
        _write_new(public_path(path), f"{key.public}\n".encode(), 0o644)
        return key

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """Make the key that follows from 32 secret bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a private key.

        Raises
        ------
        StorageError
            When it cannot be read, or others may read or change it.
        SettingsError
            When it is no Ed25519 key in PEM.
        """
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - 1 MB
            load_pem_private_key,
        )

        with storage_errors(path, "read"), path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            pem = file.read(_LARGEST)
        if mode & _OTHERS:
            raise StorageError(f"{path} is open to other users; run `chmod 600 {path}`.")
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SettingsError(f"{path} is no private key in PEM without a password.") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise SettingsError(
                f"{path} is no Ed25519 key; make one with `headwater model key new`."
            )
        return cls(private)

    def sign(self, data: bytes) -> str:
        """Return the signature of *data* in hexadecimal."""
        return self._private.sign(data).hex()


def verifies(public: PublicKey, signature: Signature, data: bytes) -> bool:
    """Say whether *signature* is that of *data* under the key *public*."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(
            bytes.fromhex(signature), data
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def public_path(path: Path) -> Path:
    """Return where the public half of the key file *path* lies."""
    return path.with_name(f"{path.name}.pub")


def read_public(source: str) -> PublicKey:
    """Read a public key given as its hexadecimal text or as the file that holds it.

    Raises
    ------
    SettingsError
        When it is neither.
    """
    text = source.strip()
    if not _is_public(text) and Path(text).is_file():
        with storage_errors(Path(text), "read"), Path(text).open("rb") as file:
            text = file.read(_LARGEST).decode("ascii", errors="replace").strip()
    if not _is_public(text):
        raise SettingsError(
            f"{source} is no public key: expected 64 hexadecimal digits or a file with them."
        )
    return text


def _is_public(text: str) -> bool:
    try:
        msgspec.convert(text, PublicKey)
    except msgspec.ValidationError:
        return False
    return True


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with storage_errors(path, "created"):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
