"""A node of Flower's Fleet API: known to the SuperLink, kept online, its errors in our words.

With :mod:`headwater_agent.flower` the only module that imports flwr.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Protocol, TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from headwater.errors import PeerError, StorageError, UnreachableError
from headwater_agent.nodekey import fingerprint_of

_log = logging.getLogger(__name__)

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class _OfNode(Protocol):
    """A request in which the node says who it is."""

    @property
    def node(self) -> Node: ...


NodeQuestion = TypeVar("NodeQuestion", bound=_OfNode)


class RunEndedError(Exception):
    """The run that a message belongs to is over; nobody waits for an answer."""


class ForgottenError(Exception):
    """The SuperLink does not know the node, or its signature is out of time."""


class FleetNode:
    """One device at the SuperLink: activated, kept online by heartbeats, activated again.

    Parameters
    ----------
    url
        Of the coordinator.
    key
        The device's private key; every request is signed with it.
    http
        The connection to use; it is closed with the node.
    node_file
        Where the number that the SuperLink gave this node is kept between processes, so that a
        process that was killed is recognised at once and not only after its heartbeats ran out.
    rng
        Source of jitter.
    heartbeat_s
        The SuperLink counts a node as gone after two of these without a sign of life; 10 to 1800.
    """

    def __init__(
        self,
        url: str,
        key: ec.EllipticCurvePrivateKey,
        http: httpx.Client,
        *,
        node_file: Path,
        rng: Random,
        heartbeat_s: float,
    ) -> None:
        self.api = _Client(url, key, http)
        self.closing = threading.Event()
        self._url = url
        self._key = key
        self._node_file = node_file
        self._rng = rng
        self._heartbeat_s = heartbeat_s
        self._node: Node | None = None
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def node(self) -> Node | None:
        """What a request carries to say who asks."""
        return self._node

    def open(self) -> None:
        """Become known as online and stay so.

        Raises
        ------
        PeerError
            When the key is not enrolled, or the device's clock is off by minutes.
        UnreachableError
            When the coordinator cannot be reached; the call may be repeated.
        """
        self._node = self._recognised() or self._activated()
        if not self._heart.is_alive():
            self._heart.start()

    def close(self, *, leave: bool) -> None:
        """Stop the heartbeats, hang up, and with *leave* go offline at once."""
        self.closing.set()
        if self._heart.is_alive():
            self._heart.join()
        if leave and self._node is not None:
            try:
                request = DeactivateNodeRequest(node_id=self._node.node_id)
                self._call(self.api.DeactivateNode, request)
            except (PeerError, UnreachableError, ForgottenError) as error:
                _log.info("left without saying goodbye: %s", error)
        self._node = None
        self.api.close()

    def call(self, method: Callable[[NodeQuestion], Answer], request: NodeQuestion) -> Answer:
        """Ask the SuperLink; where it forgot the node, become known and ask again.

        Raises
        ------
        RunEndedError
            When the run is over.
        PeerError, UnreachableError
            As everywhere.
        """
        try:
            return self._call(method, request)
        except ForgottenError:
            _log.info("the coordinator forgot this device; activating again")
            self._node = self._activated()
            request.node.CopyFrom(self._node)
        try:
            return self._call(method, request)
        except ForgottenError as error:
            raise UnreachableError(f"{self._url} forgets this device at once.") from error

    def _recognised(self) -> Node | None:
        """Take up the number of an earlier process; a heartbeat puts it online again."""
        try:
            node = Node(node_id=int(self._node_file.read_text(encoding="ascii")))
            request = SendNodeHeartbeatRequest(node=node, heartbeat_interval=self._heartbeat_s)
            known = self._call(self.api.SendNodeHeartbeat, request).success
        except (OSError, ValueError, ForgottenError):
            return None
        return node if known else None

    def _activated(self) -> Node:
        public = public_key_to_bytes(self._key.public_key())
        request = ActivateNodeRequest(public_key=public, heartbeat_interval=self._heartbeat_s)
        try:
            answer = self._call(self.api.ActivateNode, request)
        except ForgottenError as error:
            raise PeerError(
                f"The coordinator {self._url} refuses this device's signature; set the device's "
                "clock: it may differ by at most five minutes, and run ahead by five seconds."
            ) from error
        node = Node(node_id=answer.node_id)
        try:
            self._node_file.write_text(str(node.node_id), encoding="ascii")
        except OSError as error:
            raise StorageError(f"{self._node_file} cannot be written: {error}.") from error
        return node

    def _beat(self) -> None:
        """Send heartbeats; after a failure try again soon, so that one loss is not noticed."""
        failures = 0
        while not self.closing.wait(self._pause(failures)):
            request = SendNodeHeartbeatRequest(
                node=self._node, heartbeat_interval=self._heartbeat_s
            )
            try:
                self._call(self.api.SendNodeHeartbeat, request)
            except (PeerError, UnreachableError, ForgottenError, RunEndedError) as error:
                failures += 1
                _log.info("heartbeat failed: %s", error)
            else:
                failures = 0

    def _pause(self, failures: int) -> float:
        """Return the seconds until the next heartbeat."""
        pause = 0.8 * self._heartbeat_s
        return (min(pause, 2.0**failures) if failures else pause) * self._rng.uniform(0.8, 1.0)

    def _call(self, method: Callable[[Question], Answer], request: Question) -> Answer:
        with self._mapped():
            return method(request)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPStatusError as error:
            raise self._refusal(error.response) from error
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise UnreachableError(
                f"The coordinator {self._url} cannot be reached: {why}."
            ) from error
        except (httpx.RequestError, ValueError) as error:
            raise PeerError(f"{self._url} answers, but not as a coordinator: {error}.") from error

    def _refusal(self, response: httpx.Response) -> Exception:
        """Say in our words why the SuperLink refused."""
        known = FlowerError.from_json(response.text)
        code = known.code if known else 0
        if response.status_code == httpx.codes.UNAUTHORIZED:
            return ForgottenError(f"{self._url} does not know this node")
        if code == ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED:
            return RunEndedError("the run is over")
        if code == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED:
            return PeerError(
                f"This device's key {fingerprint_of(self._key)} is not enrolled at {self._url}; "
                "run `headwater coordinator enrol node.pub` there. Where it is enrolled, another "
                "process holds the same key: stop it, or wait a minute if it was killed."
            )
        if response.status_code >= 500:
            return UnreachableError(
                f"The coordinator {self._url} is in trouble (HTTP {response.status_code})."
            )
        return PeerError(f"{self._url} refuses a request with HTTP {response.status_code}.")


class _Client(FleetHttpClient):
    """Flower's client, over a connection of ours."""

    def __init__(self, url: str, key: ec.EllipticCurvePrivateKey, http: httpx.Client) -> None:
        super().__init__(
            url, interceptors=[NodeAuthHttpInterceptor(key, key.public_key())], verify=False
        )
        self._client.close()
        self._client = http
