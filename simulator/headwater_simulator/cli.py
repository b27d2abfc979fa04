"""``headwater demo``."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from headwater.errors import HeadwaterError, StorageError
from headwater_simulator.air import specification
from headwater_simulator.demo import Plan, run
from headwater_simulator.live.fleet import PREFIX
from headwater_simulator.processes import orderly_sigterm
from headwater_simulator.publisher import require_broker
from headwater_simulator.streams import CHANNELS, shipped
from headwater_simulator.summary import Snapshot, table

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    devices: Annotated[
        int, typer.Option(min=1, max=16, help="Devices; beyond four, stations are shared.")
    ] = 4,
    seconds: Annotated[
        float, typer.Option(min=10, max=3600, help="How long records are streamed.")
    ] = 100,
    broker: Annotated[
        str | None, typer.Option(help="Use this MQTT broker (mqtt://HOST:PORT), not our own.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep databases and logs in this new folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Run the whole loop here: sensors, predictions, learning, federation, release.

    Four years of hourly air-quality records of Beijing go through an MQTT broker to real agents,
    which forecast PM2.5 six hours ahead, learn, and are merged by a real coordinator.
    """
    if broker is not None:
        require_broker(broker)
    folder = _folder(keep)
    prefix = PREFIX if broker is None else f"{PREFIX}-{secrets.token_hex(4)}"
    plan = Plan(devices=devices, seconds=seconds, broker=broker, prefix=prefix)
    target = specification(shipped()).target
    unit = next(channel.unit for channel in CHANNELS if channel.name == target)
    console = Console(stderr=as_json)
    wanted = keep is not None
    try:
        with orderly_sigterm(), Live(console=console, refresh_per_second=4) as screen:

            def show(what: str, now: Snapshot) -> None:
                screen.update(Group(table(now, target, unit), Text(what, style="dim")))

            last = run(plan, folder, os.environ, show)
            screen.update(table(last, target, unit))
    except HeadwaterError:
        console.print(f"The logs are in {folder}/logs.")
        wanted = True
        raise
    finally:
        if not wanted:
            shutil.rmtree(folder)
    if as_json:
        typer.echo(msgspec.json.encode(last.summary()))
    else:
        console.print(f"\n{_words(last)}")


def _folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="headwater-demo-"))
    try:
        keep.mkdir(parents=True)
    except OSError as error:
        raise StorageError(
            f"--keep {keep}: {error.strerror}; name a folder that is not there yet."
        ) from error
    return keep.resolve()


def _words(last: Snapshot) -> str:
    """Say in a sentence what the fleet gained."""
    made = [device.summary.mae for device in last.devices]
    baseline = sum(mae.baseline for mae in made)
    released, personal = (
        1 - sum(errors) / baseline
        for errors in ([mae.released for mae in made], [mae.personal for mae in made])
    )
    return (
        f"{sum(device.records for device in last.devices):,} records, {last.rounds} rounds, "
        f"{last.releases} releases. Against persistence the released models were "
        f"{released:+.1%} better, the personal ones {personal:+.1%}, from the first record on."
    )
