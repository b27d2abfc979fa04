"""The same fleet in other simulators: ``python -m benchmarks.simulated_peers flower`` or ``pfl``.

1,000 devices with 64 rows each train an MLP 8-32-16-3 for one epoch in each round, all of them.
Each simulator runs in a process of its own. In Flower's the clients do our arithmetic (our training
graph in ONNX Runtime, the losses before and after included); pfl trains with PyTorch, and computes
no losses.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from headwater.settings import Duration
from headwater_agent.events import Batch
from headwater_agent.replay import Replay
from headwater_coordinator.settings import Gate, Rounds
from headwater_models.arrays import Arrays, pack, unpack
from headwater_models.bundle import Bundle
from headwater_models.manifest import Optimiser
from headwater_models.session import Predictor, Trainer, initial_state
from headwater_simulator.scenario.settings import DAY, Group, Model, Scenario, Synthetic
from headwater_simulator.simulation import simulate
from headwater_simulator.sources.synthetic import SyntheticTables
from headwater_simulator.virtual.fleet import make_bundle

DEVICES, ROWS, BATCH, RATE = 1_000, 80, 32, 0.5
SEED = 1
WARM, ROUNDS = 1, 3
"""Rounds that are left out of the time, and rounds that are measured."""

PATIENCE_S = 600
"""How long a peer may take."""

DATA = Synthetic(iid=True, features=8, classes=3, rows=ROWS, held=0.2)
SCENARIO = Scenario(
    length=DAY,
    seed=SEED,
    data=DATA,
    groups=(Group(name="devices", devices=DEVICES),),
    model=Model(hidden=(32, 16), optimiser=Optimiser(name="sgd", learning_rate=RATE, batch=BATCH)),
)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulator came to: seconds for each round, for its start, and accuracy at the end."""

    round_s: float
    start_s: float
    accuracy: float


@cache
def tables() -> SyntheticTables:
    """Return the data of all devices."""
    return SyntheticTables(DATA, seed=SEED)


@cache
def bundle() -> Bundle:
    """Return the model that all simulators begin with."""
    return make_bundle(SCENARIO, tables().facts)


@cache
def _trainer() -> Trainer:
    return Trainer(bundle().train)


def accuracy(weights: Arrays, devices: int = 200) -> float:
    """Return the share of right classes on the rows that some devices never learn from."""
    held = [tables().holding(i).reserved for i in range(devices)]
    windows = np.concatenate([one.window for one in held])
    labels = np.concatenate([one.label[:, 0] for one in held])
    odds = Predictor(bundle().infer).run(windows, np.zeros(len(labels), np.int64), weights)
    return float((odds.argmax(axis=1) == labels).mean())


def ours(rounds: int = 20) -> Measured:
    """Run our virtual engine; its rounds also check in, judge the candidate, and release it."""
    federation = Rounds(
        min_devices=DEVICES,
        max_devices=DEVICES,
        deadline=Duration(3_600_000),
        check_in=DAY,
        pause=Duration(0),
        arrivals=100_000.0,
    )
    gate = Gate(tolerance=1.0, max_evaluators=1)
    took, made = [], []
    for count in (WARM + ROUNDS, WARM + ROUNDS + rounds):
        began = perf_counter()
        scenario = msgspec.structs.replace(
            SCENARIO, federation=federation, gate=gate, releases=count + 1
        )
        made.append(simulate(scenario, source=tables()))
        took.append(perf_counter() - began)
        if made[-1].totals.device_rounds < count * DEVICES:
            raise RuntimeError("Not all devices took part in all rounds.")
    seconds = (took[1] - took[0]) / rounds
    return Measured(
        round_s=seconds,
        start_s=took[0] - (WARM + ROUNDS) * seconds,
        accuracy=made[0].curve[-1].accuracy or 0.0,
    )


def trained(device: int, number: int, weights: Arrays) -> tuple[Arrays, int]:
    """Do what a device does in a round; return its weights, and of how many examples they are."""
    examples: Batch = tables().holding(device).learned
    made = Replay(
        start=weights,
        state=initial_state(bundle().manifest),
        examples=examples,
        epochs=1,
        batch=BATCH,
        learning_rate=RATE,
        seed=number * DEVICES + device,
    ).run(_trainer())
    return made.weights, made.examples


def flower() -> Measured:
    """Run Flower's simulation engine on Ray, with its own FedAvg."""
    os.environ |= {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Else Ray waits for the cluster that an earlier run may have left behind.
        "RAY_ADDRESS": "local",
        "FLWR_HOME": tempfile.mkdtemp(prefix="headwater-flwr-"),
    }
    from flwr.app import (  # noqa: PLC0415 - only this peer needs it
        Array,
        ArrayRecord,
        ConfigRecord,
        Context,
        Message,
        MetricRecord,
        RecordDict,
    )
    from flwr.clientapp import ClientApp  # noqa: PLC0415
    from flwr.serverapp import Grid, ServerApp  # noqa: PLC0415
    from flwr.serverapp.strategy import FedAvg  # noqa: PLC0415
    from flwr.simulation import run_simulation  # noqa: PLC0415

    client, server = ClientApp(), ServerApp()
    manifest = bundle().manifest

    @client.train()
    def train(message: Message, context: Context) -> Message:
        device = int(str(context.node_config["partition-id"]))
        number = int(str(message.content.config_records["config"]["server-round"]))
        vector = message.content.array_records["arrays"]["weights"].numpy()
        weights, count = trained(device, number, unpack(manifest, vector))
        content = RecordDict(
            {
                "arrays": ArrayRecord({"weights": Array(pack(manifest, weights))}),
                "metrics": MetricRecord({"num-examples": count}),
            }
        )
        return Message(content=content, reply_to=message)

    ends: list[float] = []
    final: list[np.ndarray[Any, np.dtype[np.float32]]] = []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        del context

        def noted(number: int, arrays: ArrayRecord) -> MetricRecord:
            del number
            ends.append(perf_counter())
            final.append(arrays["weights"].numpy())
            return MetricRecord({})

        strategy = FedAvg(
            fraction_train=1.0,
            fraction_evaluate=0.0,
            min_train_nodes=DEVICES,
            min_available_nodes=DEVICES,
        )
        strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord({"weights": Array(pack(manifest, bundle().weights))}),
            train_config=ConfigRecord({}),
            num_rounds=WARM + ROUNDS,
            evaluate_fn=noted,
        )

    began = perf_counter()
    run_simulation(
        server_app=server,
        client_app=client,
        num_supernodes=DEVICES,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    seconds = (ends[-1] - ends[WARM]) / ROUNDS
    return Measured(
        round_s=seconds,
        start_s=ends[WARM] - began - WARM * seconds,
        accuracy=accuracy(unpack(manifest, final[-1])),
    )


def pfl() -> Measured:
    """Run pfl's simulated backend with PyTorch, in one process."""
    import torch  # noqa: PLC0415 - only this peer needs it
    from pfl.aggregate.simulate import SimulatedBackend  # noqa: PLC0415
    from pfl.algorithm.base import NNAlgorithmParams  # noqa: PLC0415
    from pfl.algorithm.federated_averaging import FederatedAveraging  # noqa: PLC0415
    from pfl.callback.base import TrainingProcessCallback  # noqa: PLC0415
    from pfl.data import FederatedDataset  # noqa: PLC0415
    from pfl.data.dataset import Dataset  # noqa: PLC0415
    from pfl.data.sampling import get_user_sampler  # noqa: PLC0415
    from pfl.hyperparam.base import NNTrainHyperParams  # noqa: PLC0415
    from pfl.model.pytorch import PyTorchModel  # noqa: PLC0415

    torch.set_num_threads(1)
    torch.manual_seed(SEED)

    class Net(torch.nn.Module):  # type: ignore[misc]
        """The same layers, and the loss and metrics that pfl asks for."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(DATA.features, 32),
                torch.nn.ReLU(),
                torch.nn.Linear(32, 16),
                torch.nn.ReLU(),
                torch.nn.Linear(16, DATA.classes),
            )

        def loss(self, x: Any, y: Any, eval: bool = False) -> Any:  # noqa: A002 - pfl's name
            self.eval() if eval else self.train()
            return torch.nn.functional.cross_entropy(self.layers(x), y)

        def metrics(self, x: Any, y: Any, eval: bool = False) -> dict[str, Any]:  # noqa: A002
            del x, y, eval
            return {}

    def made(user: int) -> Any:
        learned = tables().holding(user).learned
        rows = torch.from_numpy(np.ascontiguousarray(learned.window[:, 0]))
        labels = torch.from_numpy(learned.label[:, 0].astype(np.int64))
        return Dataset(raw_data=[rows, labels], user_id=str(user))

    ends: list[float] = []

    class Clock(TrainingProcessCallback):  # type: ignore[misc]
        """Notes when each round ended."""

        def after_central_iteration(self, *_: Any, **__: Any) -> tuple[bool, Any]:
            from pfl.metrics import Metrics  # noqa: PLC0415

            ends.append(perf_counter())
            return False, Metrics()

    net = Net()
    users = list(range(DEVICES))
    data = FederatedDataset(made, get_user_sampler("minimize_reuse", users))
    model = PyTorchModel(
        model=net,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(net.parameters(), 1.0),
    )
    began = perf_counter()
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=WARM + ROUNDS,
            evaluation_frequency=1_000,
            train_cohort_size=DEVICES,
            val_cohort_size=0,
        ),
        SimulatedBackend(training_data=data, val_data=data),
        model,
        NNTrainHyperParams(local_num_epochs=1, local_learning_rate=RATE, local_batch_size=BATCH),
        None,
        [Clock()],
    )
    seconds = (ends[-1] - ends[WARM - 1]) / ROUNDS
    held = [tables().holding(i).reserved for i in range(200)]
    rows = torch.from_numpy(np.concatenate([one.window[:, 0] for one in held]))
    labels = np.concatenate([one.label[:, 0] for one in held])
    right = net.layers(rows).argmax(dim=1).numpy() == labels
    return Measured(
        round_s=seconds,
        start_s=ends[WARM - 1] - began - WARM * seconds,
        accuracy=float(right.mean()),
    )


PEERS: dict[str, Callable[[], Measured]] = {"ours": ours, "flower": flower, "pfl": pfl}


def alone(peer: str) -> Measured:
    """Run a peer in a process of its own; workers of Ray find this module by its name.

    Raises
    ------
    RuntimeError
        When it cannot run, with the last line that it wrote.
    """
    code = f"import benchmarks.simulated_peers as peers; peers.show({peer!r})"
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"it had not ended after {PATIENCE_S} seconds") from error
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)


def show(peer: str) -> None:
    """Run a peer here and print what it came to, last."""
    sys.stdout.write("\n" + msgspec.json.encode(PEERS[peer]()).decode() + "\n")


if __name__ == "__main__":
    sys.stdout.write(f"{alone(sys.argv[1])}\n")
