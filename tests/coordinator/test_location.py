"""Where the books lie is a setting that holds no secret, and says none."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater_coordinator.location import (
    SQLITE,
    DatabaseSettings,
    find_complaints,
    read_location,
    with_url,
)
from headwater_coordinator.settings import read_settings
from headwater_coordinator.template import TEMPLATE

URL = "postgresql://headwater@db.example.org:5433/books?sslmode=verify-full"


def complaints(url: str) -> list[str]:
    return list(find_complaints(DatabaseSettings(url=url)))


@pytest.mark.parametrize(
    "url",
    [
        SQLITE,
        URL,
        "postgres:///books",
        "postgresql://h1:5432,h2:5433/x",
        "postgresql://[::1]:5432/x",
        "postgresql:///?host=%2Frun",
    ],
)
def test_a_url_of_either_engine_will_do(url: str) -> None:
    assert complaints(url) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hidden@db/books",
        "postgresql://me:@db/books",
        "postgresql://db/books?password=hidden",
        "postgresql://db/books?sslpassword=hidden",
    ],
)
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    (complaint,) = complaints(url)
    assert "PGPASSWORD" in complaint
    assert "hidden" not in complaint


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://db/books",
        "coordinator.db",
        "postgresql://me:sec#ret@db/books",
        "postgresql://me:sec/ret@db/books",
        "postgresql://me:12/sec@db/books",
        "postgresql://me:12#sec@db/books",
        "postgresql://me:12?sec@db/books",
        "postgresql://me:12@sec@db/books",
        "postgresql://[db/books",
    ],
)
def test_what_is_no_url_is_refused_and_not_repeated(url: str) -> None:
    (complaint,) = complaints(url)
    assert "must be" in complaint
    assert "sec" not in complaint


def test_whoever_looks_at_the_books_is_told_of_a_wrong_url(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.toml"
    path.write_text('[database]\nurl = "postgresql://me:hidden@db/books"')
    for read in (read_settings, lambda settings: read_location(settings, tmp_path / "x.db")):
        with pytest.raises(SettingsError, match="holds a password") as caught:
            read(path)
        assert "hidden" not in str(caught.value)


def test_settings_are_rewritten_for_another_place_and_keep_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.toml"
    path.write_text(TEMPLATE.format(host="192.0.2.7", port=1, superlink_port=2))
    for url in (URL, SQLITE, 'postgresql://db/odd"name'):
        path.write_text(with_url(path.read_text(), url))
        settings = read_settings(path)
        assert (settings.database.url, settings.front.host) == (url, "192.0.2.7")
    assert path.read_text().count("[database]") == 1


def test_a_section_in_the_middle_is_taken_out_whole() -> None:
    text = '[front]\nport = 1\n[database]\n# words\nurl = "sqlite"\n\n[metrics]\nevery = "20s"\n'
    assert tomllib.loads(with_url(text, URL)) == {
        "front": {"port": 1},
        "metrics": {"every": "20s"},
        "database": {"url": URL},
    }
