"""The device's key: made once, kept, and what the coordinator knows the device by."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from headwater.errors import StorageError

PRIVATE = "node.key"
PUBLIC = "node.pub"


def make_key(folder: Path) -> str:
    """Make the device's key pair, P-384 in OpenSSH's format, and return its fingerprint.

    ``node.key`` is created for its owner alone and is never overwritten; ``node.pub`` is what
    ``headwater coordinator enrol`` (or ``flwr supernode register``) takes. Where the key exists
    already, only ``node.pub`` is written again.

    Raises
    ------
    StorageError
        When the folder cannot be written or ``node.key`` is not such a key.
    """
    path = folder / PRIVATE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path, _private_bytes(ec.generate_private_key(ec.SECP384R1())))
        public = _public_line(read_key(path))
        (folder / PUBLIC).write_bytes(public + b"\n")
    except OSError as error:
        raise StorageError(f"The device's key cannot be written to {folder}: {error}.") from error
    return fingerprint(public)


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the device's private key.

    Raises
    ------
    StorageError
        When the file is missing, may be read by others, or is not a P-384 key.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise StorageError(f"{path} can be read by others; run `chmod 600 {path}`.")
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise StorageError(
            f"The device's key {path} cannot be read: {error.strerror}. "
            "`headwater agent init` makes one; run this as the user that owns it."
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StorageError(
            f"{path} is not a private key in OpenSSH's format; put the right one back, or "
            "remove it, run `headwater agent init` and enrol the device again."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp384r1":
        raise StorageError(f"{path} is not a P-384 key; remove it and run `headwater agent init`.")
    return key


def fingerprint(public_line: bytes) -> str:
    """Return the fingerprint that ``ssh-keygen -l`` shows for a line of ``node.pub``."""
    digest = hashlib.sha256(base64.b64decode(public_line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def fingerprint_of(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the fingerprint of a private key's public half."""
    return fingerprint(_public_line(key))


def _create(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, durable before this returns."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _private_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )


def _public_line(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
