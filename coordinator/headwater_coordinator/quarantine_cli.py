"""``headwater coordinator quarantine``: updates that the firewall holds back, and what of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from headwater.clock import now_ms
from headwater_coordinator import steering
from headwater_coordinator.home import Home, existing
from headwater_coordinator.report import render_quarantine
from headwater_coordinator.status import read_quarantine
from headwater_coordinator.steering_cli import Reason, answer, user
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
def release(
    context: typer.Context,
    number: Number,
    home: Elsewhere = None,
    *,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Accept an update after all; it waits for the next candidate like any other.

    Ends with 3 when there is none with this id, with 5 when it is malformed, with 9 when it can
    be merged no more.
    """
    _decide(existing(home or context.obj), "release", number, reason, as_json=as_json)


@quarantine.command()
def drop(
    context: typer.Context,
    number: Number,
    home: Elsewhere = None,
    *,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Remove an update for good; that it was refused stays in the books.

    Ends with 3 when there is none with this id.
    """
    _decide(existing(home or context.obj), "drop", number, reason, as_json=as_json)


def _decide(
    home: Home, kind: Literal["release", "drop"], number: int, reason: str, *, as_json: bool
) -> None:
    request = steering.held_request(home, kind, number, by=user(), reason=reason)
    answer(home, request, as_json=as_json)
