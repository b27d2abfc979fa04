"""What the tests of the coordinator share: a world with a tiny model, and books of both engines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

from headwater_coordinator.engines import Engine, open_writer
from headwater_coordinator.location import SQLITE, Location
from headwater_coordinator.migrations import migrate
from tests.coordinator.world import World, save_bundle
from tests.models.bundles import tiny
from tests.postgresql import PostgresqlServer


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test that is marked, and has to do with books, run with either engine."""
    marked = metafunc.definition.get_closest_marker("both_engines")
    if marked and "database" in metafunc.fixturenames:
        metafunc.parametrize("database", [SQLITE, "postgresql"], indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """Where books lie, as settings say it; a test that asks for both engines gets each."""
    if getattr(request, "param", SQLITE) == SQLITE:
        return SQLITE
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.url(server.new_schema())


@pytest.fixture
def location(database: str, tmp_path: Path) -> Location:
    """Where new books can be made."""
    return tmp_path / "coordinator.db" if database == SQLITE else database


@pytest.fixture
def engine(location: Location) -> Iterator[Engine]:
    """Empty books, open to be written."""
    with closing(open_writer(location)) as made:
        migrate(made)
        yield made


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    """A coordinator for the tiny linear model; rounds of two devices."""
    made = World(tmp_path, save_bundle(tmp_path, tiny()), database=database)
    yield made
    made.close()
