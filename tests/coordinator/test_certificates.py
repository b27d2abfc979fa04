"""The coordinator's own authority signs one certificate, for the names that devices use."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from headwater.errors import SettingsError
from headwater_coordinator.certificates import make_authority, make_server_certificate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def verify(authority: bytes, server: bytes, name: str) -> None:
    store = Store([x509.load_pem_x509_certificate(authority)])
    try:
        subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    assert isinstance(subject, x509.DNSName | x509.IPAddress)
    verifier = PolicyBuilder().store(store).time(NOW).build_server_verifier(subject)
    verifier.verify(x509.load_pem_x509_certificate(server), [])


@pytest.mark.parametrize("name", ["coordinator.example.org", "192.0.2.7", "127.0.0.1", "localhost"])
def test_the_certificate_holds_for_the_names_given_and_for_loopback(name: str) -> None:
    key, authority = make_authority(NOW)
    _, server = make_server_certificate(
        key, authority, ["coordinator.example.org", "192.0.2.7"], NOW
    )
    verify(authority, server, name)


def test_the_certificate_holds_for_no_other_name() -> None:
    key, authority = make_authority(NOW)
    _, server = make_server_certificate(key, authority, ["coordinator.example.org"], NOW)
    with pytest.raises(VerificationError):
        verify(authority, server, "elsewhere.example.org")


def test_another_authority_does_not_vouch_for_it() -> None:
    key, authority = make_authority(NOW)
    _, other = make_authority(NOW)
    _, server = make_server_certificate(key, authority, [], NOW)
    with pytest.raises(VerificationError):
        verify(other, server, "localhost")


@pytest.mark.parametrize("name", ["", "a..b", "münchen.example"])
def test_a_name_that_no_host_can_have_is_refused(name: str) -> None:
    key, authority = make_authority(NOW)
    with pytest.raises(SettingsError, match="neither a host name nor an address"):
        make_server_certificate(key, authority, [name], NOW)
