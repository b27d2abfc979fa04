"""``headwater simulate``: a fleet under a virtual clock, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from headwater.errors import SettingsError
from headwater_simulator.cluster.running import clustered
from headwater_simulator.live.running import lived
from headwater_simulator.report.comparison import compare as compare_runs
from headwater_simulator.report.comparison_markdown import markdown as compared_in_words
from headwater_simulator.report.outcome import outcome
from headwater_simulator.report.results import Results, read_runs
from headwater_simulator.report.writing import require_free, write
from headwater_simulator.scenario.catalogue import find, shipped
from headwater_simulator.scenario.catalogue import new as write_new
from headwater_simulator.simulation import load
from headwater_simulator.simulation import simulate as simulate_scenario
from headwater_simulator.virtual.engine import Progress as Told

app = typer.Typer(add_completion=False, no_args_is_help=True)


class On(StrEnum):
    """The engines."""

    VIRTUAL = "virtual"
    LIVE = "live"
    RAY = "ray"


_OPTIONS = {
    "--speed": On.LIVE,
    "--broker": On.LIVE,
    "--ray-address": On.RAY,
    "--device-by-device": On.VIRTUAL,
    "--threads": On.VIRTUAL,
}
"""The engine that each option is for."""

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def simulate() -> None:
    """Simulate a fleet: what it learns, and what drift, faults, networks and attacks do to it."""


@app.command(name="list")
def list_scenarios(as_json: _JSON = False) -> None:
    """Show the scenarios that come with Headwater."""
    found = shipped()
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, about in found.items():
        table.add_row(f"[bold]{name}[/]", about)
    Console().print(table)


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="The scenario file to write; ends in .toml.")],
    scenario: Annotated[
        str, typer.Option("--from", help="What to begin with: a shipped scenario or a file.")
    ] = "quickstart",
) -> None:
    """Write a scenario of your own: a copy of another one, with its comments."""
    write_new(file, scenario)
    typer.echo(f"Wrote {file}. Run it with: headwater simulate run {file}")


@app.command()
def run(  # noqa: PLR0917 - each is an option of the command
    scenario: Annotated[str, typer.Argument(help="A shipped scenario's name, or a .toml file.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report.json, report.md and report.html; default: the name."),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            max=2**32 - 1,
            help="Instead of the scenario's seed; may be given several times.",
        ),
    ] = None,
    engine: Annotated[
        On, typer.Option(help="A virtual clock here, or on a Ray cluster; or real processes.")
    ] = On.VIRTUAL,
    speed: Annotated[
        float | None,
        typer.Option(min=1, help="live: seconds of the scenario in a real one; default: it says."),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(help="live: use this MQTT broker (mqtt://HOST:PORT), not our own."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="ray: the cluster's address; default: one on this machine."),
    ] = None,
    device_by_device: Annotated[
        bool, typer.Option(help="Compute for each device alone, as devices do; slow.")
    ] = False,
    threads: Annotated[
        int, typer.Option(min=1, max=64, help="Threads within one operator of a model.")
    ] = 1,
    overwrite: Annotated[bool, typer.Option(help="Replace reports that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the totals as JSON.")] = False,
) -> None:
    """Run a scenario, and write a report for programs, for people and for a browser.

    With several seeds there is a folder for each, which `compare` takes together.
    """
    _require_fitting(
        engine,
        {
            "--speed": speed is not None,
            "--broker": broker is not None,
            "--ray-address": ray_address is not None,
            "--device-by-device": device_by_device,
            "--threads": threads > 1,
        },
    )
    path = find(scenario)
    settings = load(path)
    folder = out or Path(path.stem)
    seeds = list(dict.fromkeys(seed or [settings.seed]))
    folders = [folder / f"seed-{one}" for one in seeds] if len(seeds) > 1 else [folder]
    if not overwrite:
        for one in folders:
            require_free(one)
    console = Console(stderr=as_json)
    say = partial(Console(stderr=True, soft_wrap=True).print, highlight=False)
    for number, place in zip(seeds, folders, strict=True):
        began = time.perf_counter()
        with _shown(console, f"{path.stem}, seed {number}") as told:
            chosen = msgspec.structs.replace(settings, seed=number)
            if engine is On.RAY:
                results = clustered(path.stem, chosen, told, address=ray_address)
            elif engine is On.LIVE:
                results = lived(path.stem, chosen, told, say, speed=speed, broker=broker)
            else:
                results = simulate_scenario(
                    chosen,
                    name=path.stem,
                    device_by_device=device_by_device,
                    threads=threads,
                    progress=told,
                )
        seconds = time.perf_counter() - began
        write(results, place, overwrite=overwrite)
        if as_json:
            typer.echo(msgspec.json.encode({"report": str(place), "totals": results.totals}))
        else:
            console.print(Markdown(_summary(results, seconds, place)))


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A report, or a folder with those of several seeds.")],
    b: Annotated[Path, typer.Argument(help="The other one.")],
    as_json: _JSON = False,
) -> None:
    """Say what differs between two runs, and what of it is noise."""
    found = compare_runs(read_runs(a), read_runs(b))
    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        Console().print(Markdown(compared_in_words(found)))


def _require_fitting(engine: On, given: Mapping[str, bool]) -> None:
    """Refuse options of another engine."""
    for option, own in _OPTIONS.items():
        if given[option] and engine is not own:
            raise SettingsError(f"{option} is for --engine {own}; leave one of the two out.")


@contextmanager
def _shown(console: Console, what: str) -> Iterator[Told]:
    """Show a bar with the time that is left."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _summary(results: Results, seconds: float, folder: Path) -> str:
    days = results.length_ms / 86_400_000
    return "\n\n".join(
        (
            f"**{results.name}**: {results.devices:,} devices, {days:.3g} days in {seconds:.1f} s.",
            " ".join(outcome(results)),
            f"The report is in {folder}: report.html for a browser, report.md, report.json.",
        )
    )
