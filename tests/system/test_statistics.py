"""Statistics through a real coordinator: gathered on devices, solved, released, and forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater_coordinator.registry import Registry
from headwater_models.arrays import pack_statistics
from headwater_models.statistics import head_of, merge, solve
from tests.coordinator.devices import Answer, Floats, SimulatedDevice
from tests.coordinator.test_contributions import MODEL, given, solved
from tests.system.test_coordinator import Served, connected, eventually

pytestmark = pytest.mark.system

GATHERED = 120


class GatheringDevice(SimulatedDevice):
    """A device that gathers, and finds every candidate as good as the release."""

    def _trained(self, task: wire.Train) -> Answer:
        update, _ = super()._trained(task)
        assert isinstance(update, wire.Update)
        vector = pack_statistics(MODEL, given(self.name, GATHERED))
        return msgspec.structs.replace(update, examples=GATHERED), vector

    def _loss(self, weights: Floats) -> float:
        return 1.0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    coordinator = Served(tmp_path, solved())
    coordinator.start()
    yield coordinator
    if coordinator.process.poll() is None:
        coordinator.stop()


def device(served: Served, name: str) -> GatheringDevice:
    target = np.zeros(13, np.float32)
    made = GatheringDevice(name, served.folder / name, served.bundle, target)
    served.enrol(made)
    return made


def is_solved_from(served: Served, *names: str) -> bool:
    """Whether the release is what these devices have gathered."""
    expected = solve(MODEL, merge(MODEL, {name: given(name, GATHERED) for name in names}))
    weights = Registry(served.home.versions, MODEL).load(served.status.release)
    head = head_of(MODEL, weights)
    return all(np.allclose(head[name], value, rtol=1e-5) for name, value in expected.items())


def test_a_release_is_solved_from_all_devices_and_again_without_the_one_that_is_forgotten(
    served: Served,
) -> None:
    devices = [device(served, name) for name in ("a", "b", "c")]

    with connected(served, *devices):
        eventually(lambda: is_solved_from(served, "a", "b", "c"), "a release of all three")
        said = served.run("forget", "c", "--reason", "sold", "--home", str(served.home.root))
        assert "statistics of c are erased" in said
        eventually(lambda: is_solved_from(served, "a", "b"), "a release without the third")
        eventually(lambda: devices[2].version == served.status.release, "it takes it all the same")

    assert all(one.errors == [] for one in devices)
    assert served.status.contributions == 2
