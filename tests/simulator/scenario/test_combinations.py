"""Each combination that cannot work has a sentence, and what can work has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from headwater.settings import convert
from headwater_simulator.scenario.combinations import impossible_data, impossible_fleet
from headwater_simulator.scenario.settings import Scenario

GROUPS = [{"name": "a", "devices": 3}, {"name": "b", "devices": 2}]
SERIES: dict[str, Any] = {"kind": "series"}
REPLAY: dict[str, Any] = {"kind": "replay", "files": ["/"], "period": "1h", "label": "x"}
SYNTHETIC: dict[str, Any] = {"kind": "synthetic"}


def said(**chosen: Any) -> list[str]:
    raw = {"length": "10d", "data": SERIES, "groups": GROUPS, "federation": {}} | chosen
    raw["federation"] = {"discipline": "rounds"} | raw["federation"]
    scenario = convert(raw, Scenario, source="test")
    return [*impossible_data(scenario), *impossible_fleet(scenario)]


def series(**chosen: Any) -> dict[str, Any]:
    return {"data": SERIES | chosen}


def drift(**chosen: Any) -> dict[str, Any]:
    return series(drifts=[{"at": "1d"} | chosen])


def group(**chosen: Any) -> dict[str, Any]:
    return {"groups": [{"name": "a", "devices": 3} | chosen]}


def attackers(*shares: float, **chosen: Any) -> dict[str, Any]:
    return {"attackers": [{"kind": "noise", "share": share} | chosen for share in shares]}


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"data": SYNTHETIC},
        {"data": {"kind": "air"}, "model": {"window": 24}},
        series(noise=0.0),
        series(label_delay="1d", channels=2),
        drift(at="9d", groups=["a", "b"]),
        drift(what="season", size=0.1),
        group(joins="9d", leaves="9.5d"),
        {"outages": [{"start": "9d", "length": "9d", "groups": ["b"]}]},
        {"faults": [{"kind": "stuck", "start": "1d", "channel": 2}]},
        {"data": SYNTHETIC, "faults": [{"kind": "crash", "start": "1d", "channel": 9}]},
        attackers(0.4, 0.6),
        {"federation": {"min_devices": 5}, "gate": {"min_evaluators": 5}},
    ],
)
def test_what_can_work_is_not_complained_of(chosen: Mapping[str, Any]) -> None:
    assert said(**chosen) == []


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"length": "0s"}, "length must be above zero"),
        ({"data": SYNTHETIC, "model": {"window": 2}}, "model.window must be 1 where the data"),
        ({"model": {"kind": "autoencoder"}}, "model.kind: an autoencoder looks for anomalies"),
        ({"model": {"bundle": "/", "window": 3}}, "model: a bundle says everything itself"),
        ({"model": {"bundle": "/nowhere"}}, "model.bundle: there is no /nowhere"),
        (series(period="0s"), "data.period must be above zero"),
        (series(horizon="90min"), "data.horizon must be a multiple of the period, 1h, above zero"),
        (series(horizon="0s"), "data.horizon must be a multiple"),
        (series(season="0s"), "data.season and data.second_season must be above zero"),
        (series(second_season="0s"), "data.season and data.second_season must be above zero"),
        (series(noise=0.0, amplitude=0.0), "data.amplitude or data.noise must be above zero"),
        (series(label_delay="1d", channels=1), "data.channels must be at least 2 with"),
        (drift(at="10d"), "data.drifts[0].at must be before the end, 10d"),
        (drift(groups=["c"]), "data.drifts[0].groups: there is no group c; there is a, b"),
        (drift(kind="gradual", over="0s"), "data.drifts[0].over must be above zero for a gradual"),
        (series(noise=0.0, drifts=[{"at": "1d"}]), "data.drifts[0].size is in deviations"),
        ({"data": {"kind": "air", "horizon": "90min"}}, "data.horizon must be a multiple"),
        ({"data": REPLAY | {"files": []}}, "data.files: name at least one file"),
        ({"data": REPLAY | {"files": ["/gone.csv"]}}, "data.files: there is no file /gone.csv"),
        ({"data": REPLAY | {"target": "x"}}, "data: say target, a column to forecast, or label"),
        ({"data": REPLAY | {"label": ""}}, "data: say target, a column to forecast, or label"),
        ({"data": REPLAY | {"period": "0s"}}, "data.period must be above zero"),
        (
            {"data": REPLAY | {"label": "", "target": "x", "horizon": "1.5h"}},
            "data.horizon must be a multiple",
        ),
        (
            {"data": REPLAY | {"label": "", "target": "x", "horizon": "1h", "label_delay": "1h"}},
            "data.label_delay is for labels",
        ),
        (
            {"data": REPLAY | {"label": "", "target": "x", "horizon": "1h", "channels": ["y"]}},
            "data.target must be one of data.channels",
        ),
        ({"data": {"kind": "table", "files": [], "label": "x"}}, "data.files: name at least one"),
        ({"data": SYNTHETIC | {"rows": 69}}, "data.rows must be at least 70"),
        ({"groups": [*GROUPS, GROUPS[0]]}, "groups: a stands there 2 times"),
        (group(joins="10d"), "groups[0].joins must be before the end, 10d"),
        (group(joins="2d", leaves="2d"), "groups[0].leaves must be after groups[0].joins"),
        (group(duty={"on": "0s"}), "groups[0].duty.on must be above zero"),
        (group(link={"poll": "0s"}), "groups[0].link.poll must be above zero"),
        (
            {"outages": [{"start": "10d", "length": "1d"}]},
            "outages[0].start must be before the end",
        ),
        (
            {"outages": [{"start": "1d", "length": "1d", "groups": ["c"]}]},
            "outages[0].groups: there is no group c",
        ),
        ({"faults": [{"kind": "crash", "start": "10d"}]}, "faults[0].start must be before the end"),
        (
            {"faults": [{"kind": "crash", "start": "1d", "groups": ["c"]}]},
            "faults[0].groups: there is no group c",
        ),
        (
            {"data": SYNTHETIC, "faults": [{"kind": "spikes", "start": "1d"}]},
            "faults[0].kind: a table has no sensor",
        ),
        (
            {"data": SYNTHETIC, "faults": [{"kind": "clock-jump", "start": "1d"}]},
            "faults[0].kind: a table has no times",
        ),
        (
            group(clock_skew="1min") | {"data": SYNTHETIC},
            "groups[0].clock_skew: a table has no times",
        ),
        (attackers(0.6, 0.5), "attackers: in group a there are 110 % of them; lower share"),
        (attackers(0.2, start="10d"), "attackers[0].start must be before the end, 10d"),
        (attackers(0.2, groups=["c"]), "attackers[0].groups: there is no group c"),
        ({"federation": {"min_devices": 6}}, "federation.min_devices must be at most 5"),
        ({"gate": {"min_evaluators": 6}}, "gate.min_evaluators must be at most 5"),
    ],
)
def test_what_cannot_work_is_said_with_its_key(chosen: Mapping[str, Any], words: str) -> None:
    assert any(line.startswith(words) for line in said(**chosen)), said(**chosen)


def test_shares_of_attackers_are_counted_group_by_group() -> None:
    one, other = attackers(0.6, groups=["a"]), attackers(0.6, groups=["b"])
    assert said(attackers=[*one["attackers"], *other["attackers"]]) == []
