"""All rows of the books from one database to another; one of the two is a file of SQLite.

So a backup is the same file whatever the books lie in, and is the way from one engine to the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from headwater.errors import StorageError
from headwater_coordinator.engines import Engine, SqliteEngine, open_writer
from headwater_coordinator.location import Location
from headwater_coordinator.migrations import migrate


def copy(source: Engine, target: Engine, file: SqliteEngine) -> None:
    """Copy every row, in the schema that both have; tables go on numbering where they were.

    Parameters
    ----------
    source
        What is read.
    target
        Empty; whoever calls holds its transaction.
    file
        The one of the two that says which tables there are.
    """
    for table, columns in file.tables().items():
        names = ", ".join(f'"{name}"' for name in columns)
        places = ", ".join("?" * len(columns))
        for row in source.stream(f"SELECT {names} FROM {table}"):  # noqa: S608 - ours
            target.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", row)  # noqa: S608
    for table, number in source.numbers().items():
        target.continue_from(table, number)


@contextmanager
def moved(file: Path, location: Location) -> Iterator[None]:
    """Move the books from a file of SQLite to where they shall lie, if what is inside succeeds.

    Raises
    ------
    StorageError
        When they cannot be moved, or there are books already.
    """
    if location == file:
        yield
        return
    with closing(open_writer(location)) as target, target.transaction():
        migrate(target)
        if target.execute("SELECT 1 FROM versions LIMIT 1"):
            raise StorageError(f"{target.name} holds books already; name an empty database.")
        with closing(SqliteEngine.writer(file)) as source:
            copy(source, target, source)
        file.unlink()
        yield
