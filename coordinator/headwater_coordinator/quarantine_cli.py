"""``headwater coordinator quarantine``: updates that the firewall holds back, and what of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from headwater.clock import now_ms
from headwater.errors import StorageError
from headwater_coordinator.home import Home, existing
from headwater_coordinator.report import render_quarantine
from headwater_coordinator.requests import Request, write_request
from headwater_coordinator.status import read_quarantine
from headwater_coordinator.steering_cli import user
from headwater_coordinator.viewing_cli import AsJson, HomeFolder, Look, Watch

quarantine = typer.Typer(add_completion=False)

Elsewhere = Annotated[
    Path | None,
    typer.Option("--home", help="The coordinator's folder.", envvar="HEADWATER_COORDINATOR"),
]
Number = Annotated[int, typer.Argument(help="The update's id, as `quarantine` shows it.")]


@quarantine.callback()
def list_quarantine(
    context: typer.Context,
    home: HomeFolder = Path(),
    as_json: AsJson = False,
    watch: Watch = False,
) -> None:
    """List the updates that the firewall holds back; release or drop one."""
    context.obj = home
    if context.invoked_subcommand is not None:
        return
    place = existing(home)
    look = Look(as_json=as_json, watch=watch)
    look.at(lambda: read_quarantine(place.books), lambda held: render_quarantine(held, now_ms()))


@quarantine.command()
def release(context: typer.Context, number: Number, home: Elsewhere = None) -> None:
    """Accept an update after all; it waits for the next candidate like any other."""
    device = _ask_about(existing(home or context.obj), "release", number)
    typer.echo(
        f"The update of {device} is accepted within seconds, or when the coordinator is started "
        "next, unless its base is too old by then; `headwater coordinator status` would say so."
    )


@quarantine.command()
def drop(context: typer.Context, number: Number, home: Elsewhere = None) -> None:
    """Remove an update for good; that it was refused stays in the books."""
    device = _ask_about(existing(home or context.obj), "drop", number)
    typer.echo(f"The update of {device} is removed, or will be when the coordinator is started.")


def _ask_about(home: Home, kind: Literal["release", "drop"], number: int) -> str:
    """Leave a request about an update in quarantine; return its device."""
    found = next((one for one in read_quarantine(home.books) if one.id == number), None)
    if found is None:
        raise StorageError(
            f"There is no update {number} in quarantine; `headwater coordinator quarantine` lists "
            "those that are."
        )
    write_request(home.requests, Request(kind, found.device, number, by=user()))
    return found.device
