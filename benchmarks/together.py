"""What equal models cost in one call and one by one: ``python -m benchmarks.together``.

Three hundred models on one window, and the two that an agent has of each model (released and
personal), by an MLP of two layers of 64 on 8 steps of 4 channels. Both sides have their parameters
bound, must predict the same, and take turns in one thread; a figure is how many times a model was
evaluated on a row in a second of the processor's time, by the median turn. With ``--json`` one
object comes last.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from time import thread_time
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.report import Figure, report
from headwater.settings import Duration
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.stack import stack_inference
from headwater_models.manifest import Channel, Grid, Reserve
from headwater_models.stacked import LoopedPredictor, StackedPredictor, Together

PACKAGES = ("headwater", "onnxruntime", "numpy")
STEPS, CHANNELS, HIDDEN = 8, 4, (64, 64)
CASES: Mapping[str, tuple[int, int]] = {
    "300_models_1_row": (300, 1),
    "300_models_8_rows": (300, 8),
    "2_models_1_row": (2, 1),
    "2_models_64_rows": (2, 64),
}
"""Members and rows."""

EVALUATIONS = 3_000
"""At least so many in a turn."""

app = typer.Typer(add_completion=False)


@app.command()
def command(
    turns: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 50,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Measure models in one call beside the same models one by one."""
    figures = {name: measure(*case, turns) for name, case in CASES.items()}
    found = report("together", PACKAGES, figures)
    found.show(Console(stderr=as_json))
    if as_json:
        typer.echo(found.encode().decode())


def measure(members: int, rows: int, turns: int) -> Figure:
    """Measure so many members on so many rows.

    Raises
    ------
    AssertionError
        When the two sides do not agree.
    """
    rng = np.random.default_rng(0)
    in_one_call, one_by_one = sides(members, rng)
    window = rng.normal(0, 3, (rows, STEPS, CHANNELS)).astype(np.float32)
    time = np.zeros(rows, np.int64)
    assert_equal(in_one_call(window, time), one_by_one(window, time))
    calls = -(-EVALUATIONS // (members * rows))
    rates: dict[Together, list[float]] = {in_one_call: [], one_by_one: []}
    for _ in range(turns):
        for run, found in rates.items():
            start = thread_time()
            for _ in range(calls):
                run(window, time)
            found.append(members * rows * calls / (thread_time() - start))
    ours, loop = (statistics.median(found) for found in rates.values())
    return Figure(
        ours=ours, peers={"one_by_one": loop}, ratio=ours / loop, unit="1/s", better="higher"
    )


def assert_equal(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    """Make sure that both predict the same, to the precision of float32."""
    size = float(np.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * size)


def sides(members: int, rng: np.random.Generator) -> tuple[StackedPredictor, LoopedPredictor]:
    """Return the same models in one call and one by one."""
    spec = ModelSpec(
        kind="mlp",
        name="together",
        task="regression",
        channels=tuple(Channel(name=f"c{i}", minimum=-9, maximum=9) for i in range(CHANNELS)),
        grid=Grid(period=Duration(1000), max_gap=Duration(1000)),
        window=STEPS,
        reserve=Reserve(block=Duration(60_000)),
        loss="mse",
        hidden=HIDDEN,
    )
    built = build(spec, rng)
    stacked = stack_inference(built.infer, built.manifest)
    assert stacked is not None
    drawn = [
        {
            name: (array + rng.normal(0, 0.1, array.shape)).astype(np.float32)
            for name, array in built.weights.items()
        }
        for _ in range(members)
    ]
    return StackedPredictor(stacked, drawn), LoopedPredictor(built.infer, drawn)


if __name__ == "__main__":
    app()
