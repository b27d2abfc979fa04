"""The coordinator's own certificate authority and the server certificate that it signs."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headwater.errors import SettingsError

AUTHORITY_YEARS = 20
SERVER_YEARS = 5

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SKEW = timedelta(days=1)
"""Certificates start a day early: the clock of a small device may be behind."""


def make_authority(now: datetime) -> tuple[bytes, bytes]:
    """Make a certificate authority that can sign server certificates and nothing below them.

    Returns
    -------
    tuple of bytes
        Private key and certificate, both PEM (P-256).
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Headwater coordinator authority")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), now, AUTHORITY_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _private(key), certificate.public_bytes(serialization.Encoding.PEM)


def make_server_certificate(
    authority_key: bytes, authority: bytes, names: Sequence[str], now: datetime
) -> tuple[bytes, bytes]:
    """Make the server's key and certificate for *names* (hosts or addresses) and loopback.

    Returns
    -------
    tuple of bytes
        Private key and certificate, both PEM (P-256).

    Raises
    ------
    SettingsError
        When a name is neither a host name nor an address.
    """
    issuer_key = serialization.load_pem_private_key(authority_key, password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)  # noqa: S101  # made above
    issuer = x509.load_pem_x509_certificate(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    subjects = list(dict.fromkeys([*names, *_LOOPBACK]))
    alternatives = x509.SubjectAlternativeName([_subject(name) for name in subjects])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    certificate = (
        _builder(_name(subjects[0]), issuer.subject, key.public_key(), now, SERVER_YEARS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return _private(key), certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, years: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=365 * years))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _subject(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    labels = name.rstrip(".").split(".")
    if not all(label and len(label) < 64 and label.isascii() for label in labels):
        raise SettingsError(
            f"{name!r} is neither a host name nor an address; give devices' way to reach "
            "this machine, such as coordinator.example.org or 192.0.2.7."
        )
    return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
