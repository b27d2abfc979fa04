"""What the agent costs: ``python -m benchmarks.agent [CASE]...``.

The agent as it is installed beside the script that one would write, and beside clients that do
nothing, each in a process of its own on a core of its own, at one mosquitto. The sides take turns.
docs/benchmarks.md says what the figures are. With ``--json`` one object comes last.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from benchmarks.agent import latency, load, models, swap, workload
from benchmarks.agent.load import Effort, Figures
from benchmarks.report import report

PACKAGES = ("headwater", "onnxruntime", "numpy", "paho-mqtt", "river")

Case = Literal["load", "streams", "models", "latency", "swap"]
CASES: dict[Case, Callable[[Path, Effort, dict[str, str]], Figures]] = {
    "load": load.measure,
    "streams": load.measure_streams,
    "models": models.measure,
    "latency": latency.measure,
    "swap": swap.measure,
}

QUICK = Effort(turns=1, seconds=0.5, rates=(100,), pilot=100, streams=3, models=3)

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


@app.command()
def command(
    cases: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(CASES)}.")] = None,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = Effort.turns,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each measurement.")] = Effort.seconds,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Does it run at all?")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Measure CPU per event, sustained events, latency and a swap of the model."""
    chosen = cases or list(CASES)
    if unknown := set(chosen) - CASES.keys():
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose of {', '.join(CASES)}.")
    effort = QUICK if quick else Effort(turns=turns, seconds=seconds)
    figures: Figures = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        model = Path(folder) / "model"
        workload.model().save(model)
        for case, measure in CASES.items():
            if case in chosen:
                figures |= measure(model, effort, missing)
    found = report("agent", PACKAGES, figures, missing)
    found.show(Console(stderr=as_json))
    if as_json:
        typer.echo(found.encode().decode())


if __name__ == "__main__":
    app()
