"""What an owner decides: asked of the running coordinator, and its answer."""

from __future__ import annotations

from typing import Literal

import msgspec

from headwater.errors import NotNowError, SettingsError, UnsupportedError
from headwater_coordinator.home import Home
from headwater_coordinator.queries import is_running
from headwater_coordinator.reader import Reader, reading
from headwater_coordinator.requests import Request, write_request
from headwater_coordinator.status import read_quarantine
from headwater_models.requested import Answer, await_answer

LEAST_PREFIX = 6
"""Characters of a version's name that are enough to name it."""


class _Known(msgspec.Struct, frozen=True):
    version: str
    sequence: int
    parent: str


def candidate_request(home: Home, *, passed: bool, by: str, reason: str) -> Request:
    """Return the request to release the open candidate, or to reject it.

    Raises
    ------
    NotNowError
        When none is open.
    """
    with reading(home.books) as books:
        found = _versions(books, "candidate")
    if not found:
        raise NotNowError(
            "There is no open candidate; `headwater coordinator status` says when there is one."
        )
    kind = "release-candidate" if passed else "reject-candidate"
    return Request(kind, version=found[0].version, by=by, reason=reason)  # type: ignore[arg-type]


def rollback_request(home: Home, wanted: str, *, by: str, reason: str) -> Request:
    """Return the request to go back to an older release.

    Parameters
    ----------
    wanted
        Its sequence, or the beginning of its name; empty: the one that the release was made from.

    Raises
    ------
    SettingsError
        When there is no such release, or several.
    NotNowError
        When its weights are kept no more.
    """
    with reading(home.books) as books:
        *older, current = _versions(books, "release")
    found = [one for one in older if _is(one, wanted or current.parent)]
    if len(found) != 1:
        what = f"{wanted!r}" if wanted else "the one before this"
        raise SettingsError(
            f"{'No' if not found else 'More than one'} older release is {what}; "
            "`headwater coordinator releases` lists them."
        )
    version = found[0].version
    if not (home.versions / f"{version}.safetensors").is_file():
        raise NotNowError(f"The weights of version {version[:12]} are kept no more.")
    return Request("rollback", version=version, by=by, reason=reason)


def device_request(
    home: Home, kind: Literal["forget", "readmit"], device: str, *, by: str, reason: str
) -> Request:
    """Return the request to forget a device, or to ask it again.

    Raises
    ------
    SettingsError
        When no device has this name.
    """
    with reading(home.books) as books:
        known = books.number("SELECT count(*) FROM devices WHERE device = :name", name=device)
    if not known or not device:
        raise _unknown(device)
    return Request(kind, device, by=by, reason=reason)


def group_request(home: Home, device: str, group: str, *, by: str, reason: str) -> Request:
    """Return the request to put a device into a group; empty: into none.

    Raises
    ------
    SettingsError
        When no device has this name.
    """
    with reading(home.books) as books:
        found = books.records("SELECT node FROM devices WHERE device = :name", name=device)
    if not found or not device:
        raise _unknown(device)
    return Request("group", node=found[0]["node"], group=group, by=by, reason=reason)


def held_request(
    home: Home, kind: Literal["release", "drop"], number: int, *, by: str, reason: str
) -> Request:
    """Return the request to release an update from quarantine, or to drop it.

    Raises
    ------
    SettingsError
        When none has this number.
    UnsupportedError
        When it shall be released and is malformed.
    """
    found = next((one for one in read_quarantine(home.books) if one.id == number), None)
    if found is None:
        raise SettingsError(
            f"There is no update {number} in quarantine; `headwater coordinator quarantine` lists "
            "those that are."
        )
    if kind == "release" and found.malformed:
        raise UnsupportedError(
            f"Update {number} is malformed and can never be merged: {found.reason} Drop it with "
            f"`headwater coordinator quarantine drop {number}`."
        )
    return Request(kind, found.device, number, by=by, reason=reason)


def ask(home: Home, request: Request) -> Answer | None:
    """Leave a request, and wait for the answer while a coordinator runs.

    Returns
    -------
    Answer or None
        None where no coordinator runs; the next one does it first.

    Raises
    ------
    NotNowError
        When the coordinator would not do it, or has not answered in time.
    """
    runs = is_running(home)
    answer = await_answer(write_request(home.requests, request), lambda: is_running(home))
    if answer is not None and not answer.done:
        raise NotNowError(answer.text)
    if answer is None and runs and is_running(home):
        raise NotNowError(
            "The coordinator did not answer yet; it will when it can. See logs/serverapp.log."
        )
    return answer


def _unknown(device: str) -> SettingsError:
    return SettingsError(
        f"The coordinator knows no device {device!r}; `headwater coordinator devices` lists them."
    )


def _versions(books: Reader, kind: str) -> list[_Known]:
    query = "SELECT version, sequence, parent FROM versions WHERE kind = :stands ORDER BY sequence"
    return books.rows(_Known, query, stands=kind)


def _is(known: _Known, wanted: str) -> bool:
    named = len(wanted) >= LEAST_PREFIX and known.version.startswith(wanted)
    return named or wanted == str(known.sequence)
