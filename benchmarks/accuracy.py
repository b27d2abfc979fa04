"""How well a federation predicts: ``python -m benchmarks.accuracy beijing``.

One seed after another, or as many at a time as there are processors, each in a process of its
own; with ``--json`` one object comes last.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import beijing
from benchmarks.report import Figure, Report, report, spread
from headwater_coordinator.superlink import FLOWER_SWITCHES
from headwater_simulator.streams import Station, read_folder

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PACKAGES = ("headwater", "onnxruntime", "numpy", "flwr")
QUICK_STATIONS = 3
QUICK_HOURS = 24 * 7 * 16

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def accuracy() -> None:
    """Measure accuracy on real data."""


@app.command("beijing")
def command(
    data: Annotated[
        Path, typer.Option(envvar="HEADWATER_DATA", help="Folder that holds beijing_air/.")
    ] = DATA,
    seeds: Annotated[int, typer.Option(min=1, help="Runs that differ in all that is random.")] = 5,
    jobs: Annotated[
        int, typer.Option(min=1, help="Seeds that run at the same time.")
    ] = os.cpu_count() or 1,
    *,
    validate: Annotated[
        bool, typer.Option("--validate", help="The year on which the settings were chosen.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Three stations, sixteen weeks: does it run at all?")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """PM2.5 six hours ahead at eight stations in Beijing, federated before 2016-03-01."""
    stations = read_folder(data / "beijing_air")
    case = beijing.VALIDATION if validate else beijing.TEST
    if quick:
        stations, case = shorten(stations[:QUICK_STATIONS]), beijing.QUICK
    outcomes = run_all(stations, case, seeds, jobs)
    found = summary(outcomes)
    found.show(Console(stderr=as_json))
    if as_json:
        typer.echo(found.encode().decode())


def shorten(stations: Sequence[Station]) -> tuple[Station, ...]:
    """Return the first weeks of some stations."""
    return tuple(Station(s.name, s.times[:QUICK_HOURS], s.values[:QUICK_HOURS]) for s in stations)


def run_all(
    stations: Sequence[Station], case: beijing.Case, seeds: int, jobs: int
) -> list[beijing.Outcome]:
    """Run seeds 0 to *seeds* - 1, in processes of their own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, seeds), context, _quieten) as pool:
        futures = [pool.submit(beijing.run, stations, case, seed) for seed in range(seeds)]
        return [future.result() for future in futures]


def summary(outcomes: Sequence[beijing.Outcome]) -> Report:
    """Put the figures together: means over seeds with their spread, and persistence as peer."""
    persistence = outcomes[0].persistence
    released = [outcome.released for outcome in outcomes]
    personal = [outcome.personal for outcome in outcomes]
    figures: dict[str, float | Figure] = {
        **spread("mae_released", released),
        "mae_persistence": persistence,
        **spread("mae_vs_persistence", [mae / persistence for mae in released]),
        **spread("mae_personal", personal),
        **spread("mae_personal_vs_persistence", [mae / persistence for mae in personal]),
        "rows": float(outcomes[0].rows),
        **spread("releases", [float(outcome.releases) for outcome in outcomes]),
        "seeds": float(len(outcomes)),
    }
    return report("accuracy beijing", PACKAGES, figures)


def _quieten() -> None:
    """Keep Flower from reporting on itself, to others and to the screen."""
    os.environ.update(FLOWER_SWITCHES)
    logging.getLogger("flwr").setLevel(logging.WARNING)


if __name__ == "__main__":
    app()
