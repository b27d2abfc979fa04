"""``headwater coordinator release | rollback``: what an owner decides about versions."""

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
    _ask(place, request, as_json=as_json)


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
    _ask(place, request, as_json=as_json)


def user() -> str:
    """Return the name of whoever runs this."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def _ask(home: Home, request: Request, *, as_json: bool) -> None:
    waits = Answer(False, "No coordinator runs; the next one does it first.")
    answer = steering.ask(home, request) or waits
    typer.echo(msgspec.json.encode(answer).decode() if as_json else answer.text)
