"""Books go from one engine to the other and back, and nothing of them changes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from headwater import wire
from headwater.errors import StorageError
from headwater_coordinator.engines import Engine, SqliteEngine, open_reader, open_writer
from headwater_coordinator.engines.copying import moved
from headwater_coordinator.location import Location
from headwater_coordinator.migrations import migrate
from tests.coordinator.world import World
from tests.postgresql import PostgresqlServer


@pytest.fixture
def url(postgresql: PostgresqlServer) -> str:
    return postgresql.url(postgresql.new_schema())


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    """The books of a coordinator that has refused, held back, merged and released."""
    world.join("a", "b", "c")
    task, *_ = world.waiting(wire.Kind.TRAIN)
    world.answer(task, world.update(task, examples=0), world.vector())
    world.train_all()
    world.judge_all()
    world.take_release()
    world.turn(2_000)
    task, *_ = world.waiting(wire.Kind.TRAIN)
    world.answer(task, world.update(task), world.vector(0.25))
    world.turn()
    with closing(open_reader(world.home.books)) as books:
        books.save(tmp_path / "books.db")
    return tmp_path / "books.db"


def everything(location: Location, like: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, and what numbers come next."""
    with closing(SqliteEngine.reader(like)) as file:
        tables = file.tables()
    with closing(open_reader(location)) as engine:
        found = {name: rows(engine, name, columns) for name, columns in tables.items()}
        numbers = engine.numbers()
        return found | {"": [(numbers["receipts"], numbers["decisions"])]}


def rows(engine: Engine, table: str, columns: list[str]) -> list[tuple[object, ...]]:
    names = ", ".join(f'"{name}"' for name in columns)
    return engine.execute(f"SELECT {names} FROM {table} ORDER BY 1, 2")  # noqa: S608


def test_books_move_to_a_server_and_back_unchanged(file: Path, url: str, tmp_path: Path) -> None:
    before = everything(file, file)
    assert all(before[table] for table in ("updates", "versions", "refusals", "decisions"))
    (tmp_path / "like.db").write_bytes(file.read_bytes())
    with moved(file, url):
        pass
    assert not file.exists()
    assert everything(url, tmp_path / "like.db") == before
    with closing(open_reader(url)) as books:
        books.save(tmp_path / "back.db")
    assert everything(tmp_path / "back.db", tmp_path / "like.db") == before
    with closing(SqliteEngine.reader(tmp_path / "back.db")) as back:
        back.check()


def test_books_that_stay_where_they_are_are_left_alone(file: Path) -> None:
    before = file.read_bytes()
    with moved(file, file):
        pass
    assert file.read_bytes() == before


def test_when_what_is_inside_fails_nothing_was_moved(file: Path, url: str) -> None:
    with pytest.raises(ZeroDivisionError), moved(file, url):
        raise ZeroDivisionError
    with closing(open_writer(url)) as target:
        assert target.schema == 0


def test_books_are_never_put_over_others(file: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(file.read_bytes())
    with moved(file, url):
        pass
    with (
        pytest.raises(StorageError, match="holds books already; name an empty database"),
        moved(tmp_path / "other.db", url),
    ):
        pass
    assert (tmp_path / "other.db").exists()


def test_books_of_an_older_program_are_saved_in_its_schema(url: str, tmp_path: Path) -> None:
    with closing(open_writer(url)) as older:
        migrate(older, 4)
    with closing(open_reader(url)) as older:
        older.save(tmp_path / "saved.db")
    with closing(SqliteEngine.reader(tmp_path / "saved.db")) as saved:
        assert saved.schema == 4
        assert "decisions" not in saved.tables()
