"""``headwater coordinator``: make a coordinator, run it, let devices in, see what it has done.

Exit codes are those of the front door; ``serve`` ends with 0 when SIGINT or SIGTERM stopped it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from headwater.clock import now_ms
from headwater.errors import UnreachableError
from headwater_coordinator import reader, renewal
from headwater_coordinator.backup_cli import backup, restore
from headwater_coordinator.enrolment import fingerprint, read_public_key, remember
from headwater_coordinator.home import Home, existing
from headwater_coordinator.initialise import Wishes, initialise
from headwater_coordinator.location import SQLITE
from headwater_coordinator.quarantine_cli import quarantine
from headwater_coordinator.queries import is_running
from headwater_coordinator.requests import Request, write_request
from headwater_coordinator.settings import read_settings
from headwater_coordinator.steering_cli import (
    AsJson,
    answer,
    forget,
    group,
    readmit,
    release,
    rollback,
    show,
    user,
)
from headwater_coordinator.strategies import choose, refuse_unfit
from headwater_coordinator.superlink import FLOWER_SWITCHES
from headwater_coordinator.viewing_cli import (
    HomeFolder,
    audit,
    devices,
    releases,
    rounds,
    status,
)
from headwater_models.bundle import Bundle
from headwater_models.requested import Answer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def coordinator() -> None:
    """Merge what the fleet learned, judge it, release it."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder for everything it knows.")],
    bundle: Annotated[Path, typer.Option(help="The model: a bundle's folder or zip.")],
    host: Annotated[
        list[str] | None,
        typer.Option(help="Name or address by which devices reach this machine; repeatable."),
    ] = None,
    listen: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    *,
    port: Annotated[int, typer.Option(help="Port for devices.")] = 8443,
    superlink_port: Annotated[int, typer.Option(help="Port of the SuperLink on loopback.")] = 8444,
    publisher_key: Annotated[
        Path | None, typer.Option(help="Private key of the bundle's publisher, to delegate with.")
    ] = None,
    release_key: Annotated[
        Path | None, typer.Option(help="Private key to sign releases with; default: a new one.")
    ] = None,
    database: Annotated[
        str, typer.Option(help="Where the books lie: sqlite, or postgresql://user@host/name.")
    ] = SQLITE,
) -> None:
    """Make a coordinator: certificates, keys, the signed bundle, commented settings."""
    home = Home(folder.resolve())
    wishes = Wishes(
        bundle=bundle,
        names=host or (),
        host=listen,
        port=port,
        superlink_port=superlink_port,
        publisher_key=publisher_key,
        release_key=release_key,
        database=database,
    )
    made = initialise(home, wishes, now_ms())
    typer.echo(f"Made {home.root} for model {made.model_id[:12]} ({made.manifest.name}).")
    typer.echo(f"Devices need {home.bundle} and {home.authority}.")
    if home.publisher_key.exists():
        typer.echo(f"The bundle was not signed; its publisher's key is {home.publisher_key}.")
    typer.echo(f"Look at {home.settings}, then: headwater coordinator serve --home {home.root}")


@app.command()
def serve(home: HomeFolder = Path()) -> None:
    """Run the coordinator until Ctrl-C."""
    place = existing(home)
    settings = read_settings(place.settings)
    strategy = choose(settings.strategy, source=str(place.settings))
    refuse_unfit(strategy, Bundle.load(place.bundle).manifest)
    reader.check(place.books)
    _quieten_flower(place)
    from headwater_coordinator.serving import serve as run  # noqa: PLC0415 - after quietening

    run(place, settings, os.environ, typer.echo)


@app.command()
def enrol(
    keys: Annotated[list[Path], typer.Argument(help="node.pub of each device.")],
    home: HomeFolder = Path(),
    into: Annotated[
        str, typer.Option("--group", help="Put them into this group; see `group`.")
    ] = "",
) -> None:
    """Let devices in by their public keys; at once when the coordinator runs."""
    place = existing(home)
    settings = read_settings(place.settings)
    public = [read_public_key(path) for path in keys]
    for key in public:
        if into:
            asked = Request(
                "group", node=fingerprint(key), group=into, by=user(), reason="enrolled"
            )
            write_request(place.requests, asked)
        remember(place.nodes, key)
    _quieten_flower(place)
    from headwater_coordinator.flower import Control  # noqa: PLC0415 - after quietening

    control = Control(settings.superlink.port, place.authority)
    try:
        control.admit(public)
        for key in public:
            typer.echo(f"Enrolled {fingerprint(key)}.")
    except UnreachableError:
        typer.echo("Kept; the coordinator does not run and will let them in when it does.")
    finally:
        control.close()


app.add_typer(quarantine, name="quarantine", invoke_without_command=True)
for command in (
    *(status, devices, rounds, releases, audit),
    *(release, rollback, forget, readmit, group),
    *(backup, restore),
):
    app.command()(command)


@app.command()
def renew(
    statement: Annotated[
        Path, typer.Argument(help="model.sig.json of the bundle that its publisher signed anew.")
    ],
    home: HomeFolder = Path(),
    release_key: Annotated[
        Path | None, typer.Option(help="Private key to sign releases with from now on.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Replace or revoke release keys by a later statement of the publisher, and tell the devices.

    Ends with 4 when the statement is not the publisher's, not later than the one in force, or does
    not delegate to the key; with 9 when the coordinator that runs would not do it.
    """
    place = existing(home)
    if is_running(place):
        request = renewal.renewal_request(place, statement, release_key, by=user())
        answer(place, request, as_json=as_json)
    else:
        renewed = renewal.renew(place, statement, release_key, by=user(), now=now_ms())
        show(Answer(True, renewed.words), as_json=as_json)


def _quieten_flower(home: Home) -> None:
    """Set the switches that Flower reads when it is imported."""
    os.environ.update(FLOWER_SWITCHES)
    os.environ["FLWR_HOME"] = str(home.flower)
