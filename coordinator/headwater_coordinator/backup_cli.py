"""``headwater coordinator backup | restore``: all that a coordinator must have, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.clock import now_ms
from headwater_coordinator.backup import back_up
from headwater_coordinator.home import Home, existing
from headwater_coordinator.restore import restore as restore_folder
from headwater_coordinator.viewing_cli import HomeFolder


def backup(
    file: Annotated[Path, typer.Argument(help="A new file; it will hold the keys.")],
    home: HomeFolder = Path(),
) -> None:
    """Write all that a coordinator must have to go on into one file, while it works."""
    made = back_up(existing(home), file, now_ms())
    typer.echo(
        f"Wrote {file}: release {made.sequence} {made.release[:12]}, {len(made.members)} files.\n"
        "It holds the coordinator's private keys: whoever can read it can sign releases. "
        "Keep it where only you can (its mode is 0600)."
    )


def restore(
    file: Annotated[Path, typer.Argument(help="What `backup` wrote.")],
    home: Annotated[
        Path,
        typer.Option("--home", help="A new folder for it.", envvar="HEADWATER_COORDINATOR"),
    ],
    database: Annotated[
        str | None,
        typer.Option(
            help="Where the books shall lie: sqlite, or postgresql://user@host/name. "
            "Default: where they lay."
        ),
    ] = None,
) -> None:
    """Make a coordinator's folder from a backup; devices go on with it.

    What was released since the backup is given up: the fleet goes back to the backup's release.
    """
    place = Home(home.resolve())
    made = restore_folder(file, place, now_ms(), database)
    typer.echo(
        f"Restored {place.root} as it was when {file} was made, at release {made.sequence} "
        f"{made.release[:12]}.\n"
        "Devices that are past it go back to it by a rollback; what was contributed or forgotten "
        "since is not in it: forget those devices again. Let no other coordinator run with these "
        f"keys. Then: headwater coordinator serve --home {place.root}"
    )
