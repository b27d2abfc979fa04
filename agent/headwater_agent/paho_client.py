"""paho's client on a socket of ours, and its errors in words: what touches paho's inside."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headwater.errors import SettingsError
from headwater_agent.broker_settings import Broker
from headwater_agent.deliveries import FIRST_PACKET_ID
from headwater_agent.packets import PacketReader
from headwater_agent.transport import Session

CONNECT_S = 5.0
"""Seconds for the TCP connection and for the TLS handshake."""

CHUNK = 262_144
"""Bytes that are read from the socket at once, and that may wait to be written."""

UPKEEP_S = 0.5
"""How often paho looks whether the connection is alive: keep-alive is in seconds."""

MAX_PACKET = 17 * 2**20
"""Bytes of the largest packet that is read: a little over the largest `max_payload`."""

_PUBACK = 0x40
"""What paho is told that our own packets are: nothing that it does more with than to send it."""

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


class PacketSocket:
    """A socket that is read in large pieces, which are split into packets at once.

    What is neither PUBLISH nor PUBACK, and the end of the stream, is handed to paho in the small
    pieces that it asks for.

    Parameters
    ----------
    sock
        A connected socket.
    packets
        Splits what comes.
    """

    def __init__(self, sock: socket.socket, packets: PacketReader) -> None:
        self.packets = packets
        self._sock = sock
        self._at_once = not isinstance(sock, ssl.SSLSocket)
        self._ended = False
        self._error: OSError | None = None

    def read(self) -> bool:
        """Take what is there, about 256 kB at most; return whether there was anything.

        TLS gives one record at a time, always whole, for none is larger than what is asked for: so
        nothing stays behind that the descriptor does not tell of.

        Raises
        ------
        PacketError
            When it is not MQTT.
        """
        taken = 0
        try:
            while taken < CHUNK:
                piece = self._sock.recv(CHUNK)
                self._ended = not piece
                taken += len(piece)
                self.packets.feed(piece)
                if self._ended or self._at_once:
                    break
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return taken > 0
        except OSError as error:
            self._error = error
        return taken > 0

    def for_paho(self) -> bool:
        """Say whether there is something that paho has to read."""
        return bool(self.packets.others) or self._ended or self._error is not None

    def recv(self, size: int) -> bytes:
        """Return at most *size* bytes of what is for paho."""
        if others := self.packets.others:
            piece = bytes(others[:size])
            del others[:size]
            return piece
        if self._error is not None:
            raise self._error
        if self._ended:
            return b""
        raise BlockingIOError

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
    """paho's client for all but the packets that come in masses, which go past it both ways.

    Uses private names of paho-mqtt 2.2, which are used nowhere else: ``_create_socket``,
    ``_mid_generate``, ``_last_bytes_received``, ``_packet_queue`` and ``_sock_close``.
    """

    stream: PacketSocket | None = None
    tls: ssl.SSLContext | None = None
    connections = 0
    _upkeep_due = 0.0

    def _create_socket(self) -> paho.SocketLike:
        # A name in bytes needs no tables of what else Unicode has, which take half a megabyte.
        host: Any = self.host.encode() if self.host.isascii() else self.host
        sock = socket.create_connection((host, self.port), CONNECT_S)
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
        self.connections += 1
        v5 = self.protocol == paho.MQTTv5
        packets = PacketReader(v5=v5, limit=MAX_PACKET, connection=self.connections)
        self.stream = PacketSocket(sock, packets)
        return self.stream

    def _mid_generate(self) -> int:
        """Return the packet id of a SUBSCRIBE: always one that no message of ours has."""
        return FIRST_PACKET_ID - 1

    def read(self, stream: PacketSocket) -> None:
        """Read what is there, and let paho handle what is for paho.

        Raises
        ------
        MQTTException, ValueError, IndexError, struct.error
            When it is not MQTT; the packets before it can still be taken from the stream.
        """
        try:
            if stream.read():
                self._last_bytes_received = time.monotonic()
        finally:
            while stream.for_paho() and self.socket() is not None:
                self.loop_read()

    def write(self, packets: bytes) -> None:
        """Send packets in one piece, as far as the socket takes it now; keep the rest for later.

        Nothing else may wait to be written.
        """
        stream = self.stream
        if stream is None or self.socket() is None:
            return
        try:
            sent = stream.send(packets)
        except OSError:
            sent = 0  # paho, which tries the same again, knows what to do about it
        if sent < len(packets):
            self._packet_queue(_PUBACK, packets[sent:], 0, 0)

    def keep_up(self) -> None:
        """Write what waits, and keep the connection alive."""
        if self.want_write():
            self.loop_write()
        if (now := time.monotonic()) >= self._upkeep_due:
            self._upkeep_due = now + UPKEEP_S
            self.loop_misc()

    def drop(self) -> None:
        """Close the socket at once, if there is one."""
        self._sock_close()


def connect_properties(broker: Broker, session: Session) -> Properties:
    """Return what a CONNECT of MQTT 5 says of the session and our limits."""
    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    expiry = min(broker.session_expiry // 1000, 0xFFFF_FFFF) if session.persistent else 0
    properties.SessionExpiryInterval = expiry
    properties.ReceiveMaximum = broker.receive_maximum
    properties.MaximumPacketSize = MAX_PACKET
    return properties  # type: ignore[no-any-return]


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
