"""Enrolled devices: one public key each, in files that outlive the SuperLink's database."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from headwater.errors import SettingsError, StorageError


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return the fingerprint that ``ssh-keygen -l`` shows; it names a device's key everywhere."""
    digest = hashlib.sha256(base64.b64decode(_line(key).split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def read_public_key(path: Path) -> ec.EllipticCurvePublicKey:
    """Read a device's ``node.pub``: OpenSSH's format, P-384.

    Raises
    ------
    SettingsError
        When the file is missing or is no such key; a private key is named as what it is.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    if b"PRIVATE KEY" in content:
        raise SettingsError(
            f"{path} is a private key, which must never leave its device; give the file "
            "`node.pub` that lies beside it."
        )
    try:
        key = serialization.load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{path} is not a public key in OpenSSH's format.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
        raise SettingsError(
            f"{path} is not a P-384 key; `headwater agent init` makes one on the device."
        )
    return key


def remember(folder: Path, key: ec.EllipticCurvePublicKey) -> Path:
    """Keep a device's key, so that the SuperLink can be told again; return where.

    Raises
    ------
    StorageError
        When the folder cannot be written.
    """
    name = hashlib.sha256(_line(key)).hexdigest()[:32]
    path = folder / f"{name}.pub"
    try:
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(_line(key) + b"\n")
        temporary.rename(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}.") from error
    return path


def enrolled(folder: Path) -> Iterator[ec.EllipticCurvePublicKey]:
    """Yield the keys of all enrolled devices."""
    for path in sorted(folder.glob("*.pub")):
        yield read_public_key(path)


def _line(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
