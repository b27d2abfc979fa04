"""The connection to the coordinator over Flower: pull a task, confirm it, reply.

It holds the connection that a SuperNode would hold, on private modules of Flower 1.41 (pinned,
and tested against a real SuperLink), and never asks for code: nothing that comes from the server
is executed. A message that is not exactly the two records of the protocol is refused before it
is unpacked.

Set ``FLWR_TELEMETRY_ENABLED=0`` and ``FLWR_HOME`` before importing this module, and import it in
the federation process only.
"""

from __future__ import annotations

import logging
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.app.message.array import Array
from flwr.common.serde import message_to_proto
from flwr.common.serde_utils import metadata_from_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    Metadata,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from headwater.errors import PeerError, UnreachableError
from headwater.objects import FIELDS, RECORD, Vector, name_of, read_message
from headwater.wire import MAX_FIELDS_BYTES, Kind
from headwater_agent.bounded_http import bounded_client, too_long
from headwater_agent.client import Delivered
from headwater_agent.fleet import FleetNode, RunEndedError
from headwater_agent.meter import Meter

_OVERHEAD_BYTES = 65_536
_WRITING_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

_log = logging.getLogger(__name__)


class FleetConnection:
    """One device's connection: pull a task, confirm it once it is safe, reply when it is done.

    Parameters
    ----------
    url
        Of the coordinator; ``http`` is refused unless it goes to this machine.
    key
        The device's private key (:func:`headwater_agent.nodekey.read_key`).
    ca
        PEM file of the authority that signed the coordinator's certificate; None: the system's.
    elements
        Length of the longest packed array that may come; larger messages are not read.
    node_file
        Where the number that the SuperLink gave this node is kept between processes, so that a
        process that was killed is recognised at once and not only after its heartbeats ran out.
    rng
        Source of jitter.
    heartbeat_s
        The SuperLink counts a node as gone after two of these without a sign of life.
    timeout_s
        How long one request may take.
    """

    def __init__(
        self,
        url: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: Path | None,
        elements: int,
        node_file: Path,
        rng: Random,
        heartbeat_s: float = 30.0,
        timeout_s: float = 30.0,
    ) -> None:
        self._limit = 4 * elements + MAX_FIELDS_BYTES + _OVERHEAD_BYTES
        self._meter = Meter()
        http = bounded_client(url, ca=ca, limit=self._limit, timeout_s=timeout_s)
        http.event_hooks = {**http.event_hooks, "request": [self._meter]}
        self._node = FleetNode(
            url, key, http, node_file=node_file, rng=rng, heartbeat_s=heartbeat_s
        )
        self._pulled: tuple[Metadata, ObjectTree] | None = None

    def open(self) -> None:
        """Become known as online, and stay so by heartbeats until closed.

        Raises
        ------
        PeerError
            When the coordinator does not know this device's key, or its clock and the device's
            differ by minutes.
        UnreachableError
            When the coordinator cannot be reached; the call may be repeated.
        """
        self._node.open()

    def close(self, *, leave: bool = True) -> None:
        """Stop the heartbeats and hang up.

        With ``leave`` the SuperLink is told that the node goes offline, and answers for it
        whatever it still owes with an error; without, it waits a minute for the next process.
        """
        self._node.close(leave=leave)

    def pull(self) -> Delivered | None:
        """Fetch the next message, or None when there is none.

        A message comes once: until :meth:`confirm` this connection gives the same one again,
        also after an error on the way.

        Raises
        ------
        PeerError
            When the message is not what the protocol allows; it is dropped.
        UnreachableError
            When the coordinator cannot be reached; the call may be repeated.
        """
        if self._pulled is None:
            self._pulled = self._next()
        if self._pulled is None:
            return None
        try:
            return self._fetched(*self._pulled)
        except RunEndedError:
            self._pulled = None
            return None
        except PeerError:
            self.confirm()
            raise

    def confirm(self) -> None:
        """Let go of the message pulled last: it is stored here, or not wanted."""
        if self._pulled is None:
            return
        metadata, tree = self._pulled
        request = ConfirmMessageReceivedRequest(
            node=self._node.node, run_id=metadata.run_id, message_object_id=tree.object_id
        )
        try:
            self._node.call(self._node.api.ConfirmMessageReceived, request)
        except (RunEndedError, UnreachableError) as error:
            _log.info("the coordinator keeps a message a little longer: %s", error)
        self._pulled = None

    def reply(
        self, flower: bytes, fields: bytes, array: Vector | None
    ) -> Literal["sent", "unwanted"]:
        """Answer a message; the same answer given twice is one answer.

        Parameters
        ----------
        flower
            As it stood in the :class:`.Delivered`, from this process or an earlier one.
        fields
            The encoded reply.
        array
            float32 or float64 ``[n]``, or None.

        Returns
        -------
        str
            ``unwanted`` when nothing had to be sent: the run is over, the time is up, or this
            or another answer is already there.

        Raises
        ------
        UnreachableError
            When the coordinator cannot be reached; the call may be repeated.
        """
        content = RecordDict({RECORD: ConfigRecord({FIELDS: fields})})
        if array is not None:
            name = name_of(array)
            content[name] = ArrayRecord({name: Array(np.ascontiguousarray(array))})
        metadata = metadata_from_proto(Metadata.FromString(flower))
        message = make_message(metadata, content)
        metadata.__dict__["_message_id"] = message.object_id
        objects = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
        request = PushMessagesRequest(
            node=self._node.node,
            messages_list=[message_to_proto(remove_content_from_message(message))],
            message_object_trees=[get_object_tree(message)],
            clientapp_runtime_list=[0.0],
        )
        try:
            return self._pushed(request, metadata.run_id, objects)
        except RunEndedError:
            return "unwanted"

    def sent(self) -> tuple[int, int]:
        """Return the requests and bytes since the last call, heartbeats among them."""
        return self._meter.taken()

    def _next(self) -> tuple[Metadata, ObjectTree] | None:
        answer = self._node.call(
            self._node.api.PullMessages, PullMessagesRequest(node=self._node.node)
        )
        if not answer.messages_list:
            return None
        if len(answer.messages_list) != 1 or len(answer.message_object_trees) != 1:
            raise PeerError("The coordinator sent several messages at once; one is allowed.")
        return answer.messages_list[0].metadata, answer.message_object_trees[0]

    def _fetched(self, metadata: Metadata, tree: ObjectTree) -> Delivered:
        if metadata.message_type not in set(Kind):
            raise PeerError(
                f"The coordinator sent a message of type {metadata.message_type!r}, "
                "which the protocol lacks."
            )
        names = dict.fromkeys(branch.object_id for branch in iterate_object_tree(tree))
        if len(names) > 8 + self._limit // 2**20:
            raise PeerError(f"The coordinator sent a message of {len(names)} parts.")
        contents: dict[str, bytes] = {}
        left = self._limit
        for name in names:
            contents[name] = self._object(metadata.run_id, name)
            left -= len(contents[name])
            if left < 0:
                raise too_long(self._limit)
        fields, array = read_message(
            tree.object_id, contents, _config, sender="coordinator", limit=self._limit
        )
        return Delivered(Kind(metadata.message_type), fields, array, _answer_to(metadata))

    def _object(self, run_id: int, name: str) -> bytes:
        """Fetch one object, waiting a little where the server app is still writing it."""
        request = PullObjectRequest(node=self._node.node, run_id=run_id, object_id=name)
        for pause in _WRITING_S:
            answer = self._node.call(self._node.api.PullObject, request)
            if not answer.object_found:
                raise PeerError("The coordinator lost a part of a message before it was fetched.")
            if answer.object_available:
                return answer.object_content
            self._node.closing.wait(pause)
        raise UnreachableError("The coordinator did not finish writing a message; ask again.")

    def _pushed(
        self, request: PushMessagesRequest, run_id: int, objects: dict[str, bytes]
    ) -> Literal["sent", "unwanted"]:
        answer = self._node.call(self._node.api.PushMessages, request)
        for name in answer.objects_to_push:
            part = PushObjectRequest(
                node=self._node.node,
                run_id=run_id,
                object_id=name,
                object_content=objects[name],
                session_id=answer.session_id,
            )
            if not self._node.call(self._node.api.PushObject, part).stored:
                raise UnreachableError("The coordinator gave up waiting for a reply; send again.")
        return "sent" if answer.objects_to_push else "unwanted"


def _config(content: bytes) -> ConfigRecord:
    try:
        return ConfigRecord.inflate(content)
    except DecodeError as error:
        raise ValueError("its record is broken") from error


def _answer_to(question: Metadata) -> bytes:
    """Return the metadata of the reply to a message.

    It carries the question's own time, so that the same reply made again has the same name:
    the SuperLink then takes up where it was cut off instead of refusing a second answer.
    """
    answer = Metadata(
        run_id=question.run_id,
        src_node_id=question.dst_node_id,
        dst_node_id=question.src_node_id,
        reply_to_message_id=question.message_id,
        group_id=question.group_id,
        created_at=question.created_at,
        ttl=question.ttl,
        message_type=question.message_type,
    )
    if question.HasField("src_task_id"):
        answer.dst_task_id = question.src_task_id
    if question.HasField("dst_task_id"):
        answer.src_task_id = question.dst_task_id
    return bytes(answer.SerializeToString(deterministic=True))
