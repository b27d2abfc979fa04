"""Flower's simulation engine on Ray, the one module that knows it.

A node of Flower's is a worker, not a device: it trains its share of the devices of a step in one
call. Flower starts a message to a node in some 10 ms, which for each device would cost more than
its training.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

import msgspec
import numpy as np

from headwater.errors import PeerError, SettingsError, UnreachableError, UnsupportedError
from headwater.settings import decode_hook
from headwater_agent.events import Floats
from headwater_coordinator.superlink import FLOWER_SWITCHES
from headwater_simulator.cluster.dealing import Carry, Parcel
from headwater_simulator.cluster.working import Done, Order, Worker
from headwater_simulator.scenario.settings import Scenario

os.environ.update(FLOWER_SWITCHES)

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore import telemetry

TRAIN = "train"
REACH_S = 10.0
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
"""With these a cluster of one machine uses the loopback address and asks who comes for a token."""

NODES_S = 60.0
"""How long Flower may take to have its nodes."""

T = TypeVar("T")

client_app = ClientApp()


def on_cluster(
    scenario: bytes, work: Callable[[int, Carry], T], *, address: str | None, workers: int | None
) -> T:
    """Have a cluster while something is done.

    Parameters
    ----------
    scenario
        As JSON, for the workers.
    work
        Called with the number of workers and the way to them.
    address
        Of a Ray cluster that is there; without it, one is started on this machine.
    workers
        How many; without it, one for each CPU of the cluster.

    Raises
    ------
    UnsupportedError
        When Ray is not installed.
    SettingsError
        When the address is none.
    UnreachableError
        When there is no cluster at it.
    PeerError
        When a worker fails, with its words.
    """
    if importlib.util.find_spec("ray") is None:
        raise UnsupportedError("The Ray engine needs Ray; run: pip install 'headwater[ray]'.")
    from flwr.simulation import run_simulation  # noqa: PLC0415 - it wants Ray

    logging.getLogger("flwr").setLevel(logging.ERROR)
    telemetry.FLWR_TELEMETRY_ENABLED = "0"  # it was read when Flower was first imported
    found = _connect(address, workers)
    made: list[T] = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        del context
        made.append(work(found, _Carrier(grid, found, scenario)))

    with tempfile.TemporaryDirectory(prefix="headwater-flower-") as home:
        os.environ["FLWR_HOME"] = home
        run_simulation(
            server_app,
            client_app,
            num_supernodes=found,
            backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
        )
    return made[0]


def _require(address: str) -> None:
    """Make sure that something listens: Ray itself tries for many minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"The address of a Ray cluster must be HOST:PORT, not {address!r}.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except (OSError, OverflowError) as error:
        raise UnreachableError(
            f"There is no Ray cluster at {address}: {error}. Start one with `ray start --head`."
        ) from error


def _connect(address: str | None, workers: int | None) -> int:
    """Connect to a cluster, or start one; return how many workers there are to be."""
    if address is None:
        os.environ.update(_ALONE, RAY_AUTH_TOKEN=secrets.token_hex(32))
    else:
        _require(address)
    import ray  # noqa: PLC0415 - it is an extra

    path = os.pathsep.join(filter(None, sys.path))
    switches = FLOWER_SWITCHES if address is not None else {**FLOWER_SWITCHES, "PYTHONPATH": path}
    try:
        ray.init(
            address=address or "local",  # never one that happens to be here
            num_cpus=workers if address is None else None,
            runtime_env={"env_vars": switches},
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UnreachableError(f"The Ray cluster cannot be used: {error}") from error
    return workers or max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call, unused-ignore]


class _Carrier:
    """Sends parcels to Flower's nodes."""

    def __init__(self, grid: Grid, workers: int, scenario: bytes) -> None:
        self._grid = grid
        self._scenario = scenario
        deadline = time.monotonic() + NODES_S
        while len(nodes := sorted(grid.get_node_ids())) < workers:
            if time.monotonic() > deadline:
                raise UnreachableError(f"Flower has {len(nodes)} of {workers} nodes.")
            time.sleep(0.1)
        self._nodes = nodes

    def __call__(self, parcels: Sequence[Parcel]) -> list[tuple[Done, Floats]]:
        found: dict[int, tuple[Done, Floats]] = {}
        messages = [
            Message(_packed(parcel, self._scenario), node, TRAIN)
            for parcel, node in zip(parcels, self._nodes, strict=False)
        ]
        for reply in self._grid.send_and_receive(messages):
            if reply.has_error():
                raise PeerError(f"A worker failed: {reply.error.reason}")
            found[reply.metadata.src_node_id] = _unpacked(reply.content)
        return [found[node] for node in self._nodes[: len(parcels)]]


def _packed(parcel: Parcel, scenario: bytes) -> RecordDict:
    orders = msgspec.msgpack.encode(parcel.orders)
    return RecordDict(
        {
            "bases": ArrayRecord({"bases": Array(parcel.bases)}),
            "orders": ConfigRecord({"orders": orders, "scenario": scenario}),
        }
    )


def _unpacked(content: RecordDict) -> tuple[Done, Floats]:
    done = msgspec.msgpack.decode(_bytes(content, "done", "done"), type=Done)
    return done, _array(content, "weights")


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Do on a worker what a message asks for."""
    del context
    orders = msgspec.msgpack.decode(_bytes(message.content, "orders", "orders"), type=list[Order])
    worker = _worker(_bytes(message.content, "orders", "scenario"))
    done, weights = worker.do(_array(message.content, "bases"), orders)
    content = RecordDict(
        {
            "weights": ArrayRecord({"weights": Array(weights)}),
            "done": ConfigRecord({"done": msgspec.msgpack.encode(done)}),
        }
    )
    return Message(content, reply_to=message)


@lru_cache(1)
def _worker(scenario: bytes) -> Worker:
    return Worker(msgspec.json.decode(scenario, type=Scenario, dec_hook=decode_hook))


def _bytes(content: RecordDict, record: str, name: str) -> bytes:
    value = content.config_records[record][name]
    if not isinstance(value, bytes):
        raise PeerError(f"{record}.{name} of a message is no bytes.")
    return value


def _array(content: RecordDict, name: str) -> Floats:
    return np.asarray(content.array_records[name][name].numpy(), np.float32)
