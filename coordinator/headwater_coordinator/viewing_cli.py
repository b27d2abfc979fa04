"""``headwater coordinator status | devices | rounds | releases | audit``: what there is to see."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from rich.console import Console, RenderableType

from headwater.clock import now_ms
from headwater.errors import BundleError, SettingsError
from headwater.settings import Duration
from headwater_coordinator import audit as chain
from headwater_coordinator import queries, views
from headwater_coordinator.home import Home, existing

WATCH_S = 2.0
"""Seconds between two looks of ``--watch``."""

HomeFolder = Annotated[
    Path, typer.Option("--home", help="The coordinator's folder.", envvar="HEADWATER_COORDINATOR")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one value a line.")]
Watch = Annotated[bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")]

T = TypeVar("T")


def status(home: HomeFolder = Path(), as_json: AsJson = False, watch: Watch = False) -> None:
    """Show what runs and where it stands, releases, devices, the last refusals and errors.

    It reads the books and works while the coordinator runs and while it does not.
    """
    place = existing(home)
    look = Look(as_json=as_json, watch=watch)
    look.at(
        lambda: queries.overview(place, running=queries.is_running(place)),
        lambda found: views.overview(found, now_ms()),
    )


def devices(home: HomeFolder = Path(), as_json: AsJson = False, watch: Watch = False) -> None:
    """Show each device: what it runs, how far it is behind, what came of its updates."""
    place = existing(home)
    look = Look(as_json=as_json, watch=watch)
    look.at(
        lambda: queries.devices(place, running=queries.is_running(place)),
        lambda found: views.devices(found, now_ms()),
    )


def rounds(
    home: HomeFolder = Path(),
    limit: Limit = queries.SHOWN,
    as_json: AsJson = False,
    watch: Watch = False,
) -> None:
    """Show rounds: who was asked, what came, how many bytes, how long, and what it led to."""
    place = existing(home)
    Look(as_json=as_json, watch=watch).at(
        lambda: queries.rounds(place, limit=limit), lambda found: views.rounds(found, now_ms())
    )


def releases(
    home: HomeFolder = Path(),
    limit: Limit = queries.SHOWN,
    as_json: AsJson = False,
    watch: Watch = False,
) -> None:
    """Show releases and rollbacks, with what the gate said of each."""
    place = existing(home)
    look = Look(as_json=as_json, watch=watch)
    look.at(lambda: queries.releases(place, limit=limit), views.releases)


def audit(
    home: HomeFolder = Path(),
    since: Annotated[
        str, typer.Option(metavar="AGE", help='No older than this, such as "12h" or "7d".')
    ] = "",
    verify: Annotated[
        bool, typer.Option("--verify", help="Prove every signed statement, and their order.")
    ] = False,
    *,
    as_json: AsJson = False,
    watch: Watch = False,
) -> None:
    """Show what was decided, by whom and why, oldest first; with --verify prove it.

    --verify ends with exit code 4 where a statement does not hold.
    """
    place = existing(home)
    if verify:
        _prove(place, as_json=as_json)
        return
    age = _age(since)
    Look(as_json=as_json, watch=watch).at(
        lambda: chain.audit(place, since_ms=0 if age is None else now_ms() - age), views.audit
    )


class Look:
    """How an answer is shown: once or again and again, as a table or as JSON.

    Parameters
    ----------
    as_json, watch
        What the command was told.
    """

    def __init__(self, *, as_json: bool, watch: bool) -> None:
        self._as_json = as_json
        self._watch = watch
        self._console = Console()

    def at(self, find: Callable[[], T], draw: Callable[[T], RenderableType]) -> None:
        """Show what is found; with ``--watch`` until Ctrl-C."""
        self._show(find(), draw)
        with suppress(KeyboardInterrupt):
            while self._watch:
                time.sleep(WATCH_S)
                self._show(find(), draw)

    def _show(self, found: T, draw: Callable[[T], RenderableType]) -> None:
        if self._as_json:
            typer.echo(msgspec.json.encode(found).decode())
            return
        if self._watch:
            self._console.clear()
        self._console.print(draw(found))


def _prove(home: Home, *, as_json: bool) -> None:
    proof = chain.prove(home)
    if as_json:
        typer.echo(msgspec.json.encode(proof).decode())
    elif not proof.complaints:
        typer.echo(f"All {proof.statements} statements hold, and sequences only rise.")
    if proof.complaints:
        raise BundleError("\n".join(proof.complaints))


def _age(text: str) -> int | None:
    try:
        return Duration.parse(text) if text else None
    except ValueError as error:
        raise SettingsError(f"--since: {error}") from error
