"""Where the settings say that the books lie: in the coordinator's folder, or at a URL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from headwater.errors import SettingsError
from headwater.settings import convert, load_toml

Location = Path | str
"""A file of SQLite, or the URL of a PostgreSQL database."""

SQLITE = "sqlite"
"""In the place of a URL: the file in the coordinator's folder."""

_HOST = re.compile(r"(\[[^]]*\]|[^]:[]*)(:\d*)?")
_SECTION = re.compile(r"^\[database\].*?(?=^\[|\Z)", re.DOTALL | re.MULTILINE)


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``url`` is ``sqlite``, or that of a PostgreSQL database; it holds no password."""

    url: str = SQLITE


class _Settings(msgspec.Struct):
    """The part of the settings that whoever looks at the books needs."""

    database: DatabaseSettings = DatabaseSettings()


def read_location(settings: Path, file: Path) -> Location:
    """Return where the books lie: at the URL in the *settings*, else in the *file*.

    Raises
    ------
    SettingsError
        When the settings cannot be read, or their URL cannot be used.
    """
    if not settings.is_file():
        return file
    found = convert(load_toml(settings), _Settings, source=str(settings)).database
    complaints = [f"{settings}: {complaint}" for complaint in find_complaints(found)]
    if complaints:
        raise SettingsError("\n".join(complaints))
    return file if found.url == SQLITE else found.url


def find_complaints(settings: DatabaseSettings) -> Iterator[str]:
    """Say what is wrong with a URL, without a word of it: it may hold a password."""
    if settings.url == SQLITE:
        return
    try:
        parts = urlsplit(settings.url)
    except ValueError:
        parts = urlsplit("")
    *_, hosts = parts.netloc.split("@")
    if (
        parts.scheme not in ("postgresql", "postgres")
        or not parts.netloc.count("@") == settings.url.count("@") <= 1
        or not all(_HOST.fullmatch(host) for host in hosts.split(","))
    ):
        yield 'database.url: must be "sqlite" or like "postgresql://user@host:5432/name"'
    elif parts.password is not None or {"password", "sslpassword"} & parse_qs(parts.query).keys():
        yield (
            "database.url: holds a password, and settings are no secret; give it in PGPASSWORD, or "
            "in a file that PGPASSFILE names"
        )


def with_url(text: str, url: str) -> str:
    """Return settings, as text, that name another place for the books."""
    rest = _SECTION.sub("", text).rstrip()
    return f"{rest}\n\n[database]\nurl = {msgspec.json.encode(url).decode()}\n"
