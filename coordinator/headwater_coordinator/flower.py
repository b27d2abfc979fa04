"""Flower, seen from the server: the Control API and the Grid.

Two seams. :class:`Control` is what ``serve`` and ``enrol`` need of the SuperLink: make a device's
key known, start, watch and stop the run. :class:`GridLink` is what the ServerApp needs: who is
online, send tasks, fetch answers. Flower's own ``Grid.pull_messages`` waits for a device that
stopped in the middle of an upload and stops at the first reply it cannot read; the link fetches
the parts of each reply on its own, a bounded number of bounded size, and drops what does not
hold together.

The other module that imports flwr is :mod:`headwater_coordinator.strategies.flower`.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.common.serde_utils import error_from_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
)
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
)
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.primitives.asymmetric import bytes_to_public_key, public_key_to_bytes
from flwr.supercore.run import RunNotRunningException
from flwr.superlink.grid import HttpGrid
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from headwater.errors import PeerError, UnreachableError
from headwater.objects import FIELDS, RECORD, read_message
from headwater.wire import ARRAY, COMPRESSED, MAX_FIELDS_BYTES, STATISTICS
from headwater_coordinator.enrolment import fingerprint
from headwater_coordinator.excerpt import Excerpt
from headwater_coordinator.link import Arrival, Outgoing

_OVERHEAD_BYTES = 65_536
_PATIENCE_POLLS = 200
"""A reply whose upload stops is looked at this often before it is given up."""

_PROJECT = b"""\
[project]
name = "headwater"
version = "1.0.0"
description = "Hands the run to the Headwater coordinator installed beside Flower."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "headwater"

[tool.flwr.app.components]
serverapp = "headwater_run:app"
clientapp = "headwater_run:devices_run_no_code_of_the_server"

[tool.flwr.app.config]
home = ""
"""
_MODULE = b'"""The run is the coordinator\'s."""\n\nfrom headwater_coordinator.app import app\n'

_log = logging.getLogger(__name__)


class RunEnded(Exception):  # noqa: N818
    """The SuperLink says that this run is over; the process should end."""


class Control:
    """The SuperLink's Control API, on loopback.

    Parameters
    ----------
    port
        Of the SuperLink on 127.0.0.1.
    authority
        PEM file of the certificate authority that ``init`` made.
    patience_s
        How long an answer is waited for, seconds.
    """

    def __init__(self, port: int, authority: Path, patience_s: float = 30.0) -> None:
        self._client = ControlHttpClient(
            f"https://127.0.0.1:{port}",
            verify=ssl.create_default_context(cafile=authority),
            timeout=patience_s,
        )

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def admit(self, keys: Sequence[ec.EllipticCurvePublicKey]) -> None:
        """Let the devices with these keys in; one that is known already stays so.

        Raises
        ------
        UnreachableError
            When the SuperLink does not answer.
        PeerError
            When it refuses a key.
        """
        with _mapped():
            nodes = self._client.ListNodes(ListNodesRequest()).nodes_info
            known = {node.public_key for node in nodes if node.status != "unregistered"}
            for key in {public_key_to_bytes(key) for key in keys} - known:
                self._client.RegisterNode(RegisterNodeRequest(public_key=key))

    def start(self, home: Path) -> int:
        """Start the coordinator's ServerApp and return the number of its run.

        Raises
        ------
        UnreachableError
            When the SuperLink does not answer.
        PeerError
            When it refuses to start the run.
        """
        content, _ = build_fab_from_files({"pyproject.toml": _PROJECT, "headwater_run.py": _MODULE})
        fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
        request = StartRunRequest(
            fab=fab_to_proto(fab),
            override_config=user_config_to_proto({"home": str(home)}),
        )
        with _mapped():
            answer = self._client.StartRun(request)
            if answer.HasField("run_id"):
                return int(answer.run_id)
        raise PeerError("The SuperLink did not start the run; see logs/superlink.log.")

    def running(self, run: int) -> bool:
        """Return whether a run is wanted still: not finished, failed or stopped."""
        with _mapped():
            runs = self._client.ListRuns(ListRunsRequest(run_id=run)).run_dict
            return run in runs and runs[run].status.status != "finished"
        return False

    def stop_all(self) -> None:
        """Stop every run that an earlier process left behind; raises as :meth:`start` does."""
        with _mapped():
            runs = self._client.ListRuns(ListRunsRequest()).run_dict
        for run, described in runs.items():
            if described.status.status != "finished":
                self.stop(run)

    def stop(self, run: int) -> None:
        """Stop a run; one that is over stays so."""
        with _mapped(tolerate=ApiErrorCode.RUN_ALREADY_FINISHED):
            self._client.StopRun(StopRunRequest(run_id=run))


@contextmanager
def _mapped(tolerate: int | None = None) -> Iterator[None]:
    """Turn the client's exceptions into ours; say nothing about the refusal *tolerate*."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        known = FlowerError.from_json(error.response.text)
        if known is None or known.code != tolerate:
            reason = str(known) if known else f"HTTP {error.response.status_code}"
            raise PeerError(f"The SuperLink refuses: {reason}.") from error
    except (httpx.RequestError, ValueError) as error:
        raise UnreachableError(
            f"The SuperLink does not answer: {str(error) or type(error).__name__}. "
            "Is `headwater coordinator serve` running? See logs/superlink.log."
        ) from error


@dataclass(slots=True)
class _Upload:
    """A reply whose parts are being fetched."""

    ask: str
    message: ProtoMessage
    tree: ObjectTree
    contents: dict[str, bytes] = field(default_factory=dict)
    polls: int = 0


class GridLink:
    """The ServerApp's connection: who is online, tasks out, answers in.

    Parameters
    ----------
    grid
        What Flower hands to the ServerApp.
    longest
        Bytes of the longest vector that a reply may carry.
    """

    def __init__(self, grid: Grid, longest: int) -> None:
        if not isinstance(grid, HttpGrid):
            raise TypeError(f"expected Flower's HttpGrid, got {type(grid).__name__}")
        self._grid = grid
        self._limit = longest + MAX_FIELDS_BYTES + _OVERHEAD_BYTES
        self._numbers: dict[str, int] = {}
        self._waiting: dict[str, str] = {}
        self._uploads: dict[str, _Upload] = {}

    def nodes(self) -> frozenset[str]:
        """Return the devices that are online, by the fingerprints of their keys."""
        with _while_running():
            nodes = list(self._grid.get_nodes())
        self._numbers = {
            fingerprint(bytes_to_public_key(node.public_key)): int(node.node_id) for node in nodes
        }
        return frozenset(self._numbers)

    def push(self, batch: Sequence[Outgoing]) -> list[str]:
        """Send tasks; return the asks that the SuperLink did not take."""
        online = [one for one in batch if one.node in self._numbers]
        arrays: dict[int, ArrayRecord] = {}
        messages = [_message(one, self._numbers[one.node], arrays) for one in online]
        with _while_running():
            names = list(self._grid.push_messages(messages)) if messages else []
        sent = {one.ask: name for one, name in zip(online, names, strict=True) if name}
        self._waiting.update({name: ask for ask, name in sent.items()})
        return [one.ask for one in batch if one.ask not in sent]

    def forget(self, ask: str) -> None:
        """Wait no longer for an answer."""
        self._waiting = {name: one for name, one in self._waiting.items() if one != ask}

    def pull(self) -> list[Arrival]:
        """Return the answers that are complete by now; waits for none."""
        with _while_running():
            self._announced()
            arrivals = [self._fetched(name) for name in list(self._uploads)]
        return [arrival for arrival in arrivals if arrival is not None]

    def _announced(self) -> None:
        """Learn which asks have an answer on its way."""
        if not self._waiting:
            return
        request = PullAppMessagesRequest(message_ids=list(self._waiting))
        answer = self._grid._runtime_client.PullMessages(request)  # noqa: SLF001
        for message, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
            ask = self._waiting.pop(message.metadata.reply_to_message_id, None)
            if ask is not None:
                self._uploads[message.metadata.message_id] = _Upload(ask, message, tree)

    def _fetched(self, name: str) -> Arrival | None:
        """Fetch what is there of a reply; None while parts are missing."""
        upload = self._uploads[name]
        try:
            arrival = self._read(upload)
        except PeerError as error:
            excerpt = Excerpt.of(*upload.contents.values())
            arrival = Arrival(upload.ask, failure=str(error), excerpt=excerpt)
        upload.polls += 1
        if arrival is None and upload.polls >= _PATIENCE_POLLS:
            arrival = Arrival(upload.ask, failure="The device stopped in its reply.", lost=True)
        if arrival is not None:
            del self._uploads[name]
            self._confirm(name)
        return arrival

    def _read(self, upload: _Upload) -> Arrival | None:
        names = list(dict.fromkeys(part.object_id for part in iterate_object_tree(upload.tree)))
        if len(names) > 8 + self._limit // 2**20:
            raise PeerError(f"The device sent a message of {len(names)} parts.")
        for name in names:
            if name not in upload.contents and not self._take(upload, name):
                return None
        if upload.message.HasField("error"):
            error = error_from_proto(upload.message.error)
            return Arrival(upload.ask, failure=f"Flower: {error.reason or error.code}", lost=True)
        fields, vector = read_message(
            upload.message.metadata.message_id,
            upload.contents,
            _config,
            sender="device",
            limit=self._limit,
            vectors=(ARRAY, STATISTICS, COMPRESSED),
        )
        return Arrival(upload.ask, fields, vector)

    def _take(self, upload: _Upload, name: str) -> bool:
        """Fetch one part; return whether it was there."""
        request = PullObjectRequest(
            node=Node(node_id=SUPERLINK_NODE_ID), run_id=self._grid.run.run_id, object_id=name
        )
        answer = self._grid._runtime_client.PullObject(request)  # noqa: SLF001
        if not answer.object_found:
            raise PeerError("The device did not finish its reply in time.")
        if answer.object_available:
            upload.contents[name] = answer.object_content
        if sum(map(len, upload.contents.values())) > self._limit:
            raise PeerError(f"The device sent more than {self._limit} bytes.")
        return bool(answer.object_available)

    def _confirm(self, name: str) -> None:
        request = ConfirmMessageReceivedRequest(
            node=Node(node_id=SUPERLINK_NODE_ID),
            run_id=self._grid.run.run_id,
            message_object_id=name,
        )
        self._grid._runtime_client.ConfirmMessageReceived(request)  # noqa: SLF001


@contextmanager
def _while_running() -> Iterator[None]:
    try:
        yield
    except RunNotRunningException as error:
        raise RunEnded("the SuperLink stopped the run") from error


def _message(one: Outgoing, node: int, arrays: dict[int, ArrayRecord]) -> Message:
    """Build a message; a vector that goes to many devices becomes one record."""
    content = RecordDict({RECORD: ConfigRecord({FIELDS: one.fields})})
    if one.vector is not None:
        record = arrays.get(id(one.vector))
        if record is None:
            vector = np.ascontiguousarray(one.vector, np.float32)
            record = arrays[id(one.vector)] = ArrayRecord({ARRAY: Array(vector)})
        content[ARRAY] = record
    return Message(content, node, str(one.kind), ttl=one.ttl_s)


def _config(content: bytes) -> Mapping[str, object]:
    try:
        return ConfigRecord.inflate(content)
    except DecodeError as error:
        raise ValueError("its record is broken") from error


Connect = Callable[[int], GridLink]
"""Opens the link, given the bytes of the longest vector of the model."""


def server_app(main: Callable[[Connect, Path], None]) -> ServerApp:
    """Wrap *main* as Flower's ServerApp; it is called with the link and the home folder."""
    app = ServerApp()

    @app.main()
    def run(grid: Grid, context: Context) -> None:
        main(lambda longest: GridLink(grid, longest), Path(str(context.run_config["home"])))

    return app
