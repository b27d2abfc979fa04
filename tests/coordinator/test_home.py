"""The home folder keeps its secrets from other users."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from headwater.errors import SettingsError, StorageError
from headwater_coordinator.database import Database
from headwater_coordinator.home import Home, write_secret


def test_other_users_can_look_into_nothing_that_matters(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    Database(home.database).close()
    for folder in (home.keys, home.flower, home.logs, home.versions, home.nodes):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.database.stat().st_mode) == 0o600


def test_the_books_lie_where_the_settings_say_and_else_in_the_folder(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.books == home.database
    for text, books in (
        ("", home.database),
        ('[database]\nurl = "sqlite"', home.database),
        ('[database]\nurl = "postgresql://db/name"', "postgresql://db/name"),
        ('[front]\nport = "wrong"', home.database),  # whoever looks needs no more of them
    ):
        home.settings.write_text(text)
        assert home.books == books
    home.settings.write_text('[database]\nurl = "mysql://db/name"')
    with pytest.raises(SettingsError, match=r"coordinator\.toml: database\.url: must be"):
        _ = home.books


def test_a_secret_is_never_overwritten(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", b"one")
    with pytest.raises(StorageError, match="never overwritten"):
        write_secret(tmp_path / "key", b"two")
    assert (tmp_path / "key").read_bytes() == b"one"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        Home(tmp_path / "file" / "home").make()
