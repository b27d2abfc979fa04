"""``headwater coordinator release``, ``rollback``, ``forget`` ...: what an owner decides."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from headwater_coordinator import steering
from headwater_coordinator.home import Home, existing
from headwater_coordinator.requests import Request
from headwater_coordinator.viewing_cli import HomeFolder
from headwater_models.requested import Answer

Reason = Annotated[
    str, typer.Option("--reason", "-r", help="Why; it is kept in the books, for `audit`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Device = Annotated[str, typer.Argument(help="The device's name, as `devices` shows it.")]


def release(
    home: HomeFolder = Path(),
    *,
    reject: Annotated[bool, typer.Option("--reject", help="Refuse it.")] = False,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Release the open candidate now, or reject it, whatever the gate would say.

    Ends with 9 when there is none, or the coordinator would not do it.
    """
    place = existing(home)
    request = steering.candidate_request(place, passed=not reject, by=user(), reason=reason)
    answer(place, request, as_json=as_json)


def rollback(
    version: Annotated[
        str,
        typer.Argument(
            help="Sequence of a release, or the beginning of its name; by default the one that "
            "the present release was made from."
        ),
    ] = "",
    home: HomeFolder = Path(),
    *,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Go back to an older release: it is signed anew with a higher sequence, and handed out.

    An open candidate is refused. Ends with 3 when there is no such release, with 9 when it
    cannot be done.
    """
    place = existing(home)
    request = steering.rollback_request(place, version, by=user(), reason=reason)
    answer(place, request, as_json=as_json)


def forget(
    device: Device, home: HomeFolder = Path(), *, reason: Reason, as_json: AsJson = False
) -> None:
    """Erase what a device contributed, and ask it for nothing more.

    Ends with 3 when there is no such device.
    """
    place = existing(home)
    request = steering.device_request(place, "forget", device, by=user(), reason=reason)
    answer(place, request, as_json=as_json)


def readmit(
    device: Device, home: HomeFolder = Path(), *, reason: Reason, as_json: AsJson = False
) -> None:
    """Ask a forgotten device again; what was erased stays so until it contributes anew.

    Ends with 3 when there is no such device.
    """
    place = existing(home)
    request = steering.device_request(place, "readmit", device, by=user(), reason=reason)
    answer(place, request, as_json=as_json)


def group(
    device: Device,
    name: Annotated[str, typer.Argument(help="The group; without one, the device has none.")] = "",
    home: HomeFolder = Path(),
    *,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Put a device into a group, for the gate's rule that no group may be worse.

    Ends with 3 when there is no such device.
    """
    place = existing(home)
    request = steering.group_request(place, device, name, by=user(), reason=reason)
    answer(place, request, as_json=as_json)


def user() -> str:
    """Return the name of whoever runs this."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def answer(home: Home, request: Request, *, as_json: bool) -> None:
    """Ask, and print what came of it.

    Raises
    ------
    NotNowError
        When the coordinator would not do it, or has not answered in time.
    """
    waits = Answer(False, "No coordinator runs; the next one does it first.")
    show(steering.ask(home, request) or waits, as_json=as_json)


def show(said: Answer, *, as_json: bool) -> None:
    """Print what came of a request."""
    typer.echo(msgspec.json.encode(said).decode() if as_json else said.text)
