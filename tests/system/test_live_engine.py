"""The live engine: the same scenario with real processes, and the same learning as on the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater_simulator.live.running import lived
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.reading import read_scenario
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.engine import Engine

pytestmark = pytest.mark.system

LEARNING = """
seed = 5
length = "24d"

[model]
kind = "linear"
window = 8

[data]
kind = "series"
channels = 2
horizon = "3h"
noise = 0.5

[[groups]]
name = "sensors"
devices = 2

[federation]
pause = "1d"
epochs = 10
learning_rate = 0.02

[gate]
tolerance = 0.1
worst_group_tolerance = 5.0
group_devices = 2
"""

SAME_ROWS = 1e-5
"""Both judge the first model on the same rows; sums are in the same order."""

LOSS = 0.2
"""Share by which the last losses may differ. A real round takes what is days of the scenario, so
releases are fewer and of other data: those of the virtual run differ among themselves by as much.
"""

GAIN = 0.12
"""The same, as a share of the first loss: it falls by more than half."""

TROUBLED = """
length = "12d"

[model]
kind = "linear"
window = 4

[data]
kind = "series"
channels = 2
horizon = "1h"

[[groups]]
name = "early"
devices = 2
link = { loss = 0.1 }

[[groups]]
name = "late"
devices = 1
joins = "3d"

[[outages]]
start = "2d"
length = "3d"
groups = ["early"]

[[faults]]
kind = "crash"
start = "4d"
groups = ["early"]
share = 0.5

[[faults]]
kind = "power-cut"
start = "8d"
length = "2d"
groups = ["late"]

[[attackers]]
kind = "sign-flip"
groups = ["early"]
share = 0.5
"""


def scenario(folder: Path, text: str) -> Scenario:
    file = folder / "scenario.toml"
    file.write_text(text)
    return read_scenario(file)


def live(wanted: Scenario, speed: float, said: list[str]) -> Results:
    return lived("it", wanted, _ignored, said.append, speed=speed)


def _ignored(share: float) -> None:
    return


def gain(results: Results) -> float:
    return 1 - results.curve[-1].loss / results.curve[0].loss


def test_a_fleet_learns_live_what_it_learns_on_the_virtual_engine(tmp_path: Path) -> None:
    wanted = scenario(tmp_path, LEARNING)
    virtual = Engine(wanted, open_source(wanted)).run("it")
    real = live(wanted, 43_200, [])

    assert real.engine == "live"
    assert real.totals.records == virtual.totals.records
    assert [device.examples for device in real.listed] == [d.examples for d in virtual.listed]
    assert real.curve[0].loss == pytest.approx(virtual.curve[0].loss, rel=SAME_ROWS)
    assert real.curve[-1].loss == pytest.approx(virtual.curve[-1].loss, rel=LOSS)
    assert gain(real) > 0.4
    assert gain(real) == pytest.approx(gain(virtual), abs=GAIN)
    closed = sum(one.accepted for one in real.rounds)
    assert closed <= real.totals.updates_accepted <= closed + 2  # the last round may be open
    assert [one.sequence for one in real.releases] == [one.sequence for one in real.curve]
    assert all(device.served is not None and device.bytes_up for device in real.listed)
    words = [one.words for one in real.rounds if one.outcome == "released"]
    assert all("sensors" in one for one in words), "too few of them may have rows to judge on"


def test_what_befalls_devices_befalls_their_processes(tmp_path: Path) -> None:
    said: list[str] = []
    results = live(scenario(tmp_path, TROUBLED), 72_000, said)

    words = [one.words for one in results.incidents]
    assert "Outage of early begins." in words
    assert "crash on 1 devices." in words
    assert "power-cut on 1 devices." in words
    told = [one for one in words if one.startswith("Left out on the live engine")]
    assert any("link.loss" in one for one in told)
    assert any("sign-flip" in one for one in told)
    assert set(told) < set(said)
    early, _, late = results.listed
    assert early.examples > late.examples > 0
    assert early.online == pytest.approx(0.75, abs=0.03)  # 9 of 12 days
    assert late.online == pytest.approx(7 / 12, abs=0.03)  # from day 3 on, and 2 days without power
    assert late.served is not None
