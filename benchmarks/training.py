"""What a training step costs: ``python -m benchmarks.training``.

The steps of three models by Adam on a batch of 64 windows, as ``train.onnx`` in ONNX Runtime and as
one would write them in NumPy; both must give the same weights. They take turns in one thread, and
a figure is the median of the processor's time for a step. With ``--json`` one object comes last.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from time import thread_time
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from benchmarks import by_hand
from benchmarks.report import Figure, report
from headwater.settings import Duration
from headwater_models.graphs.builders import Built, ModelSpec, build
from headwater_models.graphs.builders.specification import Kind
from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Channel, Grid, Optimiser, Reserve
from headwater_models.session import Trainer, initial_state

PACKAGES = ("headwater", "onnxruntime", "numpy")
ROWS, STEPS, CHANNELS = 64, 24, 12
HIDDEN: Mapping[Kind, tuple[int, ...]] = {"mlp": (64,), "cnn": (32, 32), "gru": (32,)}
RATE = 0.01
CHECKED = 5
"""Steps after which both sides must have the same weights."""

TURN = 10
"""Steps of one side before the other's turn; each turn starts at the first weights."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Arrays = dict[str, NDArray[np.float32]]
Run = Callable[[int], Arrays]
"""``run(steps) -> weights``, from the first weights on"""

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Batch:
    """A batch as the agent makes it."""

    window: NDArray[np.float32]
    time: NDArray[np.int64]
    label: NDArray[np.float32]
    weight: NDArray[np.float32]


@app.command()
def command(
    turns: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 100,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Measure the training steps of an MLP, a CNN and a GRU beside NumPy's."""
    os.environ.update(ONE_THREAD)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:  # NumPy reads its threads when it is imported
        figures = {kind: pool.submit(measure, kind, turns).result() for kind in HIDDEN}
    found = report("training", PACKAGES, {f"{kind}_step": f for kind, f in figures.items()})
    found.show(Console(stderr=as_json))
    if as_json:
        typer.echo(found.encode().decode())


def measure(kind: Kind, turns: int) -> Figure:
    """Measure one kind of model.

    Raises
    ------
    AssertionError
        When the two sides do not agree.
    """
    ours, theirs = sides(kind)
    assert_equal(ours(CHECKED), theirs(CHECKED))
    spent: dict[Run, list[float]] = {ours: [], theirs: []}
    for _ in range(turns):
        for run, times in spent.items():
            start = thread_time()
            run(TURN)
            times.append((thread_time() - start) / TURN * 1e6)
    mine, peer = (statistics.median(times) for times in spent.values())
    return Figure(ours=mine, peers={"numpy": peer}, ratio=peer / mine, unit="us", better="lower")


def assert_equal(ours: Arrays, theirs: Arrays) -> None:
    """Make sure that both have learned the same, to the precision of float32."""
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-3, atol=1e-4, err_msg=name)


def sides(kind: Kind) -> tuple[Run, Run]:
    """Return the steps of ``train.onnx``, and those in NumPy, on the same batch."""
    scaling = Scaling(
        mean=(0.5,) * CHANNELS, scale=(2.0,) * CHANNELS, label_mean=1.0, label_scale=3.0
    )
    rng = np.random.default_rng(0)
    built, batch = model(kind, scaling, rng), draw(rng)
    weights = {
        name: (array + rng.normal(0, 0.1, array.shape)).astype(np.float32)
        for name, array in built.weights.items()
    }
    trainer, units = Trainer(built.train), by_hand.Units.of(scaling)
    networks = {
        "mlp": by_hand.mlp(units),
        "cnn": by_hand.cnn(units, len(HIDDEN["cnn"])),
        "gru": by_hand.gru(units),
    }

    def ours(steps: int) -> Arrays:
        now, state = weights, initial_state(built.manifest)
        for _ in range(steps):
            now, state, _ = trainer.step(batch, now, state, RATE)
        return now

    def theirs(steps: int) -> Arrays:
        now, state = dict(weights), by_hand.fresh_state(weights)
        for _ in range(steps):
            by_hand.step(networks[kind], batch, now, state, RATE)
        return now

    return ours, theirs


def model(kind: Kind, scaling: Scaling, rng: np.random.Generator) -> Built:
    """Build a model of the measured size."""
    spec = ModelSpec(
        kind=kind,
        name=kind,
        task="regression",
        channels=tuple(Channel(name=f"c{i}", minimum=-9, maximum=9) for i in range(CHANNELS)),
        grid=Grid(period=Duration(1000), max_gap=Duration(1000)),
        window=STEPS,
        reserve=Reserve(block=Duration(60_000)),
        loss="mse",
        optimiser=Optimiser(name="adam"),
        hidden=HIDDEN[kind],
        scaling=scaling,
    )
    return build(spec, rng)


def draw(rng: np.random.Generator) -> Batch:
    """Draw a batch in which one cell in twenty is missing."""
    window = rng.normal(0.5, 2, (ROWS, STEPS, CHANNELS)).astype(np.float32)
    window[rng.random(window.shape) < 0.05] = np.nan
    label = rng.normal(1, 3, (ROWS, 1)).astype(np.float32)
    weight = rng.uniform(0.5, 2, ROWS).astype(np.float32)
    return Batch(window, np.zeros(ROWS, np.int64), label, weight)


if __name__ == "__main__":
    app()
