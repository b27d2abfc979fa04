"""Flower's simulation engine on a Ray cluster of two workers on this machine."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from headwater.errors import SettingsError, UnreachableError, UnsupportedError
from headwater_simulator.cluster.running import clustered
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.engine import Engine
from tests.simulator.cluster.scenarios import table

THERE = importlib.util.find_spec("ray") is not None

with_ray = pytest.mark.skipif(not THERE, reason="Ray is an extra: pip install 'headwater[ray]'")


def on_ray(scenario: Scenario, address: str | None = None) -> Results:
    shares: list[float] = []
    made = clustered("it", scenario, shares.append, address=address, workers=2)
    assert shares[-1] == 1.0
    return made


@with_ray
@pytest.mark.system
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_workers_come_to_the_curve_of_the_virtual_engine() -> None:
    scenario = table()
    here = Engine(scenario, open_source(scenario)).run("it")
    there = on_ray(scenario)

    assert there.engine == "ray"
    assert [one.loss for one in there.curve] == pytest.approx(
        [one.loss for one in here.curve], rel=1e-5
    )
    assert [one.accepted for one in there.rounds] == [one.accepted for one in here.rounds]
    assert there.totals.stacked == here.totals.stacked


@with_ray
@pytest.mark.filterwarnings("ignore")
def test_an_address_without_a_cluster_is_said() -> None:
    with pytest.raises(UnreachableError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        on_ray(table(), "127.0.0.1:1")
    with pytest.raises(SettingsError, match="HOST:PORT, not 'auto'"):
        on_ray(table(), "auto")


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'headwater\[ray\]'"):
        on_ray(table())
