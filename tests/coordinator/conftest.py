"""What the tests of the coordinator share: a world with a tiny model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

from tests.coordinator.world import World, save_bundle
from tests.models.bundles import tiny


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A coordinator for the tiny linear model; rounds of two devices."""
    made = World(tmp_path, save_bundle(tmp_path, tiny()))
    yield made
    made.close()
