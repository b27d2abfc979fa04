"""paho's client on a buffered socket, and its errors in words: what touches paho's inside."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable

import paho.mqtt.client as paho

from headwater.errors import SettingsError
from headwater_agent.settings import Broker

CONNECT_S = 5.0
"""Seconds for the TCP connection and for the TLS handshake."""

_CHUNK = 262_144

REFUSALS = {
    "Bad user name or password": (
        "the broker knows no such user or the password is wrong; check broker.username and "
        "the password"
    ),
    "Not authorized": (
        "this user may not connect; check broker.username and the broker's access rules"
    ),
    "Unsupported protocol version": "the broker does not speak this MQTT; set broker.version",
    "Client identifier not valid": "the broker refuses the client id; set broker.client_id",
    "Server unavailable": "the broker says that it is unavailable",
    "Server busy": "the broker says that it is busy",
    "Banned": "the broker has banned this client",
    "Unspecified error": "it closed the connection",
    "Keep alive timeout": "it did not answer within broker.keepalive",
    "Session taken over": (
        "another client connected with the same client id; give each agent its own device name "
        "or broker.client_id"
    ),
}
"""What a broker's refusal means, by MQTT's name for it."""


class BufferedSocket:
    """A socket that is read in large pieces and handed to paho in the small ones it asks for."""

    def __init__(self, sock: socket.socket) -> None:
        self.dry = False
        self._sock = sock
        self._chunk = b""
        self._taken = 0

    def recv(self, size: int) -> bytes:
        """Return at most *size* bytes; reads ahead, and sets ``dry`` where nothing is left."""
        if self._taken == len(self._chunk):
            try:
                self._chunk = self._sock.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                self.dry = True
                raise
            self._taken = 0
        piece = self._chunk[self._taken : self._taken + size]
        self._taken += len(piece)
        return piece

    def pending(self) -> int:
        """Return the bytes that are here although the descriptor does not say so."""
        decrypted = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
        return len(self._chunk) - self._taken + decrypted

    def send(self, buffer: bytes | bytearray) -> int:
        """Send; return how many bytes were taken."""
        return self._sock.send(buffer)

    def fileno(self) -> int:
        """Return the descriptor to wait for; -1 once closed."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Say whether to wait for data; here never."""
        self._sock.setblocking(flag)

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


class PahoClient(paho.Client):
    """paho's client on a buffered socket, with acknowledgements sent together.

    Uses three private methods of paho-mqtt 2 (``_create_socket``, ``_packet_queue``,
    ``_sock_close``); they are used nowhere else.
    """

    buffered: BufferedSocket | None = None
    tls: ssl.SSLContext | None = None

    def _create_socket(self) -> paho.SocketLike:
        sock = socket.create_connection((self.host, self.port), CONNECT_S)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                sock = self.tls.wrap_socket(
                    sock, server_hostname=self.host, do_handshake_on_connect=False
                )
                sock.do_handshake()
        except OSError:
            sock.close()
            raise
        self.buffered = BufferedSocket(sock)
        return self.buffered

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Send PUBACK for each message id, in one piece."""
        joined = b"".join(b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids)
        if joined:
            self._packet_queue(0x40, joined, 0, 0)

    def drop(self) -> None:
        """Close the socket at once, if there is one."""
        self._sock_close()


def tls_context(broker: Broker) -> ssl.SSLContext:
    """Return what verifies the broker, and shows our own certificate where there is one.

    Raises
    ------
    SettingsError
        When a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=broker.ca)
        if broker.cert is not None:
            context.load_cert_chain(broker.cert, broker.key)
    except OSError as error:
        raise SettingsError(
            f"broker.ca, broker.cert or broker.key cannot be used ({error}); check the files."
        ) from error
    return context


def explain(error: OSError) -> str:
    """Say in words why no connection came about."""
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not accepted ({error.verify_message}); set broker.ca to the "
                "authority that signed it, and use the host name that it was made for"
            )
        case ssl.SSLError():
            return f"TLS failed ({error}); does this port speak TLS?"
        case socket.gaierror():
            return "its host name is not known; check broker.url and the name server"
        case ConnectionRefusedError():
            return "nothing listens there; start the broker or check broker.url"
        case TimeoutError():
            return f"no answer within {CONNECT_S:g} s; check broker.url and the firewall"
    return f"it cannot be reached ({error})"
