"""A PostgreSQL server: its dialect, its secrets, its one writer, and the day that it dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg
import pytest

from headwater.errors import StorageError, UnsupportedError
from headwater_coordinator import engines
from headwater_coordinator.engines import Engine, open_reader, open_writer, postgresql
from headwater_coordinator.migrations import migrate
from tests.conftest import free_port
from tests.postgresql import PASSWORD, PostgresqlServer

Server = PostgresqlServer


@pytest.fixture
def schema(postgresql: Server) -> str:
    return postgresql.new_schema()


@pytest.fixture
def url(postgresql: Server, schema: str) -> str:
    return postgresql.url(schema)


@pytest.fixture
def writer(url: str) -> Iterator[Engine]:
    with closing(open_writer(url)) as made:
        migrate(made)
        yield made


def test_places_of_values_are_written_as_psycopg_reads_them() -> None:
    placed = postgresql._placed("SELECT ?, :name, x::int, '%', :name WHERE a = ?")
    assert placed == "SELECT %s, %(name)s, x::int, '%%', %(name)s WHERE a = %s"


def test_types_are_those_that_hold_what_sqlite_holds(writer: Engine) -> None:
    found = writer.execute(
        "SELECT DISTINCT data_type FROM information_schema.columns "
        "WHERE table_schema = current_schema()"
    )
    assert {kind for (kind,) in found} == {"bigint", "double precision", "text", "bytea"}
    assert writer.execute(
        "SELECT DISTINCT collation_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND data_type = 'text'"
    ) == [("C",)]
    assert writer.execute(
        "SELECT DISTINCT attstorage::text FROM pg_attribute WHERE atttypid = 'bytea'::regtype "
        "AND attrelid IN ('updates'::regclass, 'quarantine'::regclass, 'contributions'::regclass)"
    ) == [("e",)]


def test_the_library_is_asked_for_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, postgresql.__name__, None)
    monkeypatch.delattr(engines, "postgresql")
    with pytest.raises(UnsupportedError, match=r"pip install 'headwater\[postgresql\]'"):
        open_writer(url)


def test_its_name_says_where_it_is_and_nothing_else(
    postgresql: Server, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with closing(open_writer(postgresql.loopback(schema))) as engine:
        assert engine.name == f"postgresql://127.0.0.1:{postgresql.port}/postgres"


# Who comes in


@pytest.fixture
def guarded(postgresql: Server, schema: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL where a password is asked for, which nobody has given yet."""
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.delenv("PGPASSFILE", raising=False)
    return postgresql.loopback(schema)


def test_a_password_comes_from_the_environment(
    guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    open_writer(guarded).close()


def test_a_password_comes_from_a_file(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "passwords").write_text(f"127.0.0.1:*:*:owner:{PASSWORD}\n")
    (tmp_path / "passwords").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
    open_writer(guarded).close()


def test_who_is_refused_is_told_where_and_why_and_no_secret(
    guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="no password supplied"):
        open_writer(guarded)
    monkeypatch.setenv("PGPASSWORD", "wrong word")
    with pytest.raises(StorageError, match="authentication failed") as caught:
        open_reader(guarded)
    assert "127.0.0.1" in str(caught.value)
    assert "wrong word" not in str(caught.value)
    assert "search_path" not in str(caught.value)


def test_a_server_that_is_away_is_named() -> None:
    port = free_port()
    with pytest.raises(StorageError, match=f"127.0.0.1:{port}/books cannot be read") as caught:
        open_reader(f"postgresql://me@127.0.0.1:{port}/books")
    assert "\n" not in str(caught.value)


def test_an_option_that_nobody_knows_is_named() -> None:
    with pytest.raises(StorageError, match="nonsense"):
        open_reader("postgresql://127.0.0.1/books?nonsense=1")


# One writer


def test_a_second_writer_is_refused_and_readers_are_not(
    writer: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = postgresql._SESSION.replace("'5s'", "'50ms'")
    assert impatient != postgresql._SESSION
    monkeypatch.setattr(postgresql, "_SESSION", impatient)
    with pytest.raises(StorageError, match="Another coordinator works with"):
        open_writer(url)
    open_reader(url).close()
    writer.close()
    open_writer(url).close()


def test_books_of_other_schemas_have_writers_of_their_own(
    writer: Engine, postgresql: Server
) -> None:
    with closing(open_writer(postgresql.url(postgresql.new_schema()))) as engine:
        assert engine.schema == 0


def test_a_reader_that_stays_does_not_hold_up_a_purge(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_SESSION", postgresql._SESSION.replace("'5s'", "'50ms'"))
    with closing(open_writer(url)) as writer:
        migrate(writer)
        with closing(open_reader(url)) as reader:
            reader.execute("SELECT count(*) FROM updates")
            writer.purge()
        writer.purge()


def test_what_a_purge_has_done_away_with_is_in_no_file_of_a_table(
    postgresql: Server, writer: Engine
) -> None:
    given = np.random.default_rng(0).bytes(20_000)
    row = {"node": "a", "device": "a", "sequence": 1, "holds_for": "b", "examples": 50}
    writer.insert("contributions", row | {"received_ms": 1, "statistics": given})

    def found() -> bool:
        writer.execute("CHECKPOINT")
        tables = (postgresql.folder / "data" / "base").rglob("*")
        return any(given[500:600] in path.read_bytes() for path in tables if path.is_file())

    assert found()
    writer.execute("DELETE FROM contributions")
    assert found()
    writer.purge()
    assert not found()


def test_a_database_that_cannot_hold_every_text_is_refused(postgresql: Server) -> None:
    with psycopg.connect(postgresql.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    for opened in (open_writer, open_reader):
        with pytest.raises(StorageError, match="keeps text as LATIN1; name a database with ENC"):
            opened(postgresql.url().replace("/postgres?", "/latin?"))


# What lasts


def test_a_commit_is_on_the_disk_even_where_the_server_would_not_wait(
    postgresql: Server, schema: str
) -> None:
    with psycopg.connect(postgresql.url(), autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres SET synchronous_commit = 'off'")
    try:
        with closing(open_writer(postgresql.url(schema))) as engine:
            assert engine.execute("SHOW synchronous_commit") == [("on",)]
    finally:
        with psycopg.connect(postgresql.url(), autocommit=True) as connection:
            connection.execute("ALTER DATABASE postgres RESET synchronous_commit")


def test_when_the_server_dies_what_was_committed_is_there_and_the_rest_is_not(
    postgresql: Server, url: str, writer: Engine
) -> None:
    def hold(number: int) -> None:
        row = {"round": number, "base": "b", "opened_ms": 1, "asked": 2}
        writer.insert("rounds", row)

    def killed_half_way() -> None:
        with writer.transaction():
            hold(2)
            postgresql.kill()
            hold(3)

    hold(1)
    with pytest.raises(StorageError, match="cannot be used"):
        killed_half_way()
    with pytest.raises(StorageError, match="cannot be used"):
        writer.execute("SELECT 1")
    with pytest.raises(StorageError, match="cannot be read"):
        open_reader(url)
    postgresql.start()
    with closing(open_writer(url)) as again:
        assert again.execute("SELECT round FROM rounds") == [(1,)]


def test_the_server_of_these_tests_is_not_roots(postgresql: Server) -> None:
    owner = Path(f"/proc/{postgresql.process.pid}").stat().st_uid
    assert owner != 0 or os.geteuid() != 0
