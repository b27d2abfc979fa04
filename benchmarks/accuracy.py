"""How well Headwater predicts on real data: ``python -m benchmarks.accuracy CASE``.

One seed after another, or as many at a time as there are processors, each in a process of its
own; with ``--json`` one object comes last.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from benchmarks import beijing, elec2, nab, occupancy, phones, skab, wisdm
from benchmarks.report import Report
from headwater_coordinator.superlink import FLOWER_SWITCHES
from headwater_simulator.streams import read_folder

Case = TypeVar("Case")
Outcome = TypeVar("Outcome")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

Data = Annotated[
    Path, typer.Option(envvar="HEADWATER_DATA", help="Folder that holds each case's data.")
]
Seeds = Annotated[int, typer.Option(min=1, help="Runs that differ in all that is random.")]
Jobs = Annotated[int, typer.Option(min=1, help="Seeds that run at the same time.")]
Validate = Annotated[
    bool, typer.Option("--validate", help="Score what the settings were chosen on.")
]
Quick = Annotated[bool, typer.Option("--quick", help="A small part: does it run at all?")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")]

PROCESSORS = os.cpu_count() or 1

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def accuracy() -> None:
    """Measure accuracy on real data."""


@app.command("beijing")
def measure_beijing(
    data: Data = DATA,
    seeds: Seeds = 5,
    jobs: Jobs = PROCESSORS,
    *,
    validate: Validate = False,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """PM2.5 six hours ahead at eight stations in Beijing, federated before 2016-03-01."""
    stations = read_folder(data / "beijing_air")
    case = beijing.VALIDATION if validate else beijing.TEST
    if quick:
        stations, case = beijing.shorten(stations), beijing.QUICK
    show(
        beijing.summary(run_all(partial(beijing.run, stations), case, seeds, jobs)), as_json=as_json
    )


@app.command("wisdm")
def measure_wisdm(
    data: Data = DATA,
    seeds: Seeds = 5,
    jobs: Jobs = PROCESSORS,
    *,
    validate: Validate = False,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Activities of 36 phone users, 70 % of each user's rows to learn from, federated."""
    users = phones.read_users(data / "wisdm_v11")
    case = wisdm.Case(validate=validate)
    if quick:
        users, case = users[: wisdm.QUICK_USERS], wisdm.QUICK
    show(wisdm.summary(run_all(partial(wisdm.run, users), case, seeds, jobs)), as_json=as_json)


@app.command("occupancy")
def measure_occupancy(
    data: Data = DATA,
    seeds: Seeds = 5,
    jobs: Jobs = PROCESSORS,
    *,
    validate: Validate = False,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Is someone in the office, from its air without its light, frozen against online."""
    periods = occupancy.read_periods(data / "occupancy")
    case = occupancy.validation_case(periods) if validate else occupancy.test_case(periods)
    if quick:
        case = occupancy.shorten(case)
    show(occupancy.summary(run_all(occupancy.run, case, seeds, jobs)), as_json=as_json)


@app.command("elec2")
def measure_elec2(
    data: Data = DATA,
    seeds: Seeds = 5,
    jobs: Jobs = PROCESSORS,
    *,
    validate: Validate = False,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Will electricity cost more than in the day before, beside river's adaptive random forest."""
    stream = elec2.read_stream(data / "elec2")
    if validate or quick:
        stream = elec2.cut(stream, elec2.QUICK if quick else elec2.CHOSEN)
    runs = run_all(elec2.run, stream, seeds, jobs)
    raced = elec2.race(stream, elec2.model(stream, 0), elec2.forest(stream))
    show(elec2.summary(stream, runs, raced), as_json=as_json)


@app.command("skab")
def measure_skab(
    data: Data = DATA,
    seeds: Seeds = 5,
    jobs: Jobs = PROCESSORS,
    *,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Faults of a water pump in 34 files, found without labels."""
    case = skab.Case(logs=skab.read_logs(data / "skab"))
    if quick:
        case = skab.shorten(case)
    show(skab.summary(run_all(skab.run, case, seeds, jobs)), as_json=as_json)


@app.command("nab")
def measure_nab(
    data: Data = DATA,
    seeds: Seeds = 5,
    jobs: Jobs = PROCESSORS,
    *,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Anomalies with known causes by Numenta's scoring, beside river's half-space trees."""
    corpus = nab.read(data / "nab_known_cause")
    if quick:
        corpus = nab.shorten(corpus)
    show(nab.summary(run_all(nab.run, corpus, seeds, jobs)), as_json=as_json)


def run_all(
    run: Callable[[Case, int], Outcome], case: Case, seeds: int, jobs: int
) -> list[Outcome]:
    """Run a case with seeds 0 to *seeds* - 1, in processes of their own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, seeds), context, _quieten) as pool:
        futures = [pool.submit(run, case, seed) for seed in range(seeds)]
        return [future.result() for future in futures]


def show(found: Report, *, as_json: bool) -> None:
    """Print the table, and the object if it is asked for."""
    found.show(Console(stderr=as_json))
    if as_json:
        typer.echo(found.encode().decode())


def _quieten() -> None:
    """Keep Flower from reporting on itself, to others and to the screen."""
    os.environ.update(FLOWER_SWITCHES)
    logging.getLogger("flwr").setLevel(logging.WARNING)


if __name__ == "__main__":
    app()
