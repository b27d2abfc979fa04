"""The books, opened to be read and never written, whether a coordinator runs or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import msgspec

from headwater.errors import StorageError
from headwater_coordinator.engines import Engine, open_reader
from headwater_coordinator.location import Location
from headwater_coordinator.migrations import MIGRATIONS, refuse_unknown

S = TypeVar("S", bound=msgspec.Struct)


class Reader:
    """One consistent look at the books.

    Parameters
    ----------
    engine
        Open to be read.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def records(self, query: str, **values: object) -> list[dict[str, Any]]:
        """Return the rows of a query by the names of its columns."""
        return self._engine.records(query, values)

    def rows(self, kind: type[S], query: str, **values: object) -> list[S]:
        """Return the rows of a query, as structs whose fields are its columns."""
        made = [
            {name: row[name] for name in kind.__struct_fields__}
            for row in self.records(query, **values)
        ]
        return [msgspec.convert(row, kind, strict=False) for row in made]

    def number(self, query: str, **values: object) -> int:
        """Return the one number that a query gives; 0 where it gives none."""
        found = self._engine.execute(query, values)
        return int(found[0][0] or 0) if found else 0

    def counts(self, query: str) -> dict[str, int]:
        """Return what a query of names and numbers gives."""
        return {str(name): int(count) for name, count in self._engine.execute(query)}


def check(location: Location) -> None:
    """See whether a coordinator can work with the books; raises as :func:`reading`."""
    with closing(open_reader(location)) as engine:
        refuse_unknown(engine)


@contextmanager
def reading(location: Location) -> Iterator[Reader]:
    """Read the books.

    Raises
    ------
    StorageError
        When there are none, they cannot be read, or they are not of this program's version.
    """
    with closing(open_reader(location)) as engine:
        refuse_unknown(engine)
        if engine.schema != len(MIGRATIONS):
            raise StorageError(
                f"{engine.name} has schema {engine.schema}, this program knows {len(MIGRATIONS)}; "
                "start the coordinator, which brings it up to date."
            )
        yield Reader(engine)
