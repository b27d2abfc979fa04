"""What a merge costs: ``python -m benchmarks.aggregation``.

A thousand updates of 100,000 float32 become one mean: by the coordinator's ``fedavg`` from its
books, where it reads them one at a time, and by Flower's ``FedAvg`` from replies in memory, as its
server has them. Each side runs in a process of its own, in turns; both must give the same weights.
The time is that of the merge alone, a figure is the median over the turns, and memory is how far
the merge raises the peak of its process above what that holds without updates. With ``--json`` one
object comes last.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.report import Figure, report
from headwater import wire
from headwater_coordinator import events as e
from headwater_coordinator.database import Database
from headwater_coordinator.location import Location
from headwater_coordinator.state import Device, Pending, Version
from headwater_coordinator.strategies import choose

PACKAGES = ("headwater", "numpy", "flwr")
BASE = "0" * 64

Floats = NDArray[np.float32]

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Size:
    """How many updates there are, and how long each is."""

    updates: int
    weights: int

    def drawn(self) -> Iterator[tuple[int, Floats, int]]:
        """Yield each update: its number, its vector, and of how many examples it is."""
        rng = np.random.default_rng(0)
        for number in range(self.updates):
            vector = rng.standard_normal(self.weights, np.float32)
            yield number, vector, int(rng.integers(1, 1_000))

    def shared(self) -> Floats:
        """Return the release that all start from."""
        return np.random.default_rng(1).standard_normal(self.weights, np.float32)


@dataclass(frozen=True)
class Merged:
    """What one merge took, and a part of what it gave."""

    seconds: float
    megabytes: float
    weights: Floats


@app.command()
def command(
    turns: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 5,
    updates: Annotated[int, typer.Option(min=2, help="Updates in a merge.")] = 1_000,
    weights: Annotated[int, typer.Option(min=1, help="Weights of the model.")] = 100_000,
    *,
    database: Annotated[
        str | None, typer.Option(help="URL of an empty PostgreSQL database; default: a file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Measure a mean of many updates beside Flower's."""
    with tempfile.TemporaryDirectory() as folder:
        found = report(
            "aggregation",
            PACKAGES,
            measure(database or Path(folder) / "coordinator.db", Size(updates, weights), turns),
        )
    found.show(Console(stderr=as_json))
    if as_json:
        typer.echo(found.encode().decode())


def measure(books: Location, size: Size, turns: int) -> dict[str, float | Figure]:
    """Let both sides merge in turns, ours from new books.

    Raises
    ------
    AssertionError
        When they do not agree.
    """
    fill(books, size)
    ours = [alone(merge_ours, books, size)]
    theirs = [alone(merge_flowers, books, size)]
    for _ in range(turns - 1):
        ours.append(alone(merge_ours, books, size))
        theirs.append(alone(merge_flowers, books, size))
    np.testing.assert_allclose(ours[0].weights, theirs[0].weights, atol=1e-5)
    return {
        "time": figure([one.seconds for one in ours], [one.seconds for one in theirs], "s"),
        "memory": figure([one.megabytes for one in ours], [one.megabytes for one in theirs], "MB"),
    }


def figure(ours: list[float], flowers: list[float], unit: str) -> Figure:
    """Return the medians of both sides, and how many times less ours is."""
    mine, peer = statistics.median(ours), statistics.median(flowers)
    return Figure(ours=mine, peers={"flower": peer}, ratio=peer / mine, unit=unit, better="lower")


def alone(merge: Callable[[Location, Size], Merged], books: Location, size: Size) -> Merged:
    """Run one side in a fresh process, whose peak of memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(merge, books, size).result()


def fill(books: Location, size: Size) -> None:
    """Accept the updates into books, as a coordinator does."""
    with Database(books) as database:
        database.begin(Version(BASE, 1, "", "{}"), 0)
        for number, vector, examples in size.drawn():
            node = f"{number:06}"
            database.note(Device(node, node))
            update = wire.Update(
                task=BASE,
                device=node,
                model=BASE,
                base=BASE,
                sequence=1,
                examples=examples,
                loss_before=1.0,
                loss_after=0.5,
                data_until_ms=0,
            )
            database.accept(e.Accept(update, Pending(node, BASE, 1, examples), vector, 1), 0)


def merge_ours(books: Location, size: Size) -> Merged:
    """Merge pending updates from books as the coordinator does."""
    strategy = choose({"name": "fedavg"}, source="coordinator.toml")
    shared = size.shared()
    with Database(books) as database:
        pending = list(database.load().pending.values())
        before = resident()
        start = perf_counter()
        with database.reading(
            pending, size.weights, staleness=lambda _: 0, packed=lambda _: shared
        ) as updates:
            merged = strategy.merge(shared, updates, {})
        return Merged(perf_counter() - start, peak() - before, merged.vector[:1_000])


def merge_flowers(books: Location, size: Size) -> Merged:
    """Merge the same with Flower, from replies in memory; these count, for it must have them."""
    del books
    strategy, shared = FedAvg(), size.shared()
    before = resident()
    replies = [reply(shared + vector, examples) for _, vector, examples in size.drawn()]
    start = perf_counter()
    arrays, _ = strategy.aggregate_train(1, replies)
    seconds = perf_counter() - start
    assert arrays is not None
    return Merged(seconds, peak() - before, arrays["arrays"].numpy()[:1_000])


def reply(weights: Floats, examples: int) -> Message:
    """Return the message that Flower's server has from a device."""
    content = RecordDict(
        {
            "arrays": ArrayRecord({"arrays": Array(weights)}),
            "metrics": MetricRecord({"num-examples": examples}),
        }
    )
    return make_message(Metadata(0, "", 0, 0, "", "", 0.0, 1.0, "train"), content)


def resident() -> float:
    """Return how much memory this process holds, in MB, and measure its peak from here on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak()


def peak() -> float:
    """Return the most memory that this process held, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    app()
