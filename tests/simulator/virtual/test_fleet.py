"""Who takes part: names, hardware, who is hit, who attacks, and the model to begin with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from headwater.errors import SettingsError
from headwater.settings import Duration
from headwater_models.arrays import pack
from headwater_simulator.device import VirtualDevice
from headwater_simulator.scenario.settings import (
    DAY,
    HOUR,
    Attacker,
    Battery,
    Fault,
    Group,
    Model,
    Scenario,
    Series,
)
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.fleet import Fleet, make_bundle
from headwater_simulator.virtual.holder import Holder
from tests.simulator.virtual.scenes import sensors, streams, tables


def fleet(scenario: Scenario, seed: int = 1) -> Fleet:
    return Fleet(scenario, open_source(scenario), np.random.default_rng(seed))


def hit(scenario: Scenario, **fault: Any) -> list[int]:
    """Whom a fault hits."""
    told: dict[str, Any] = {"kind": "crash", "start": HOUR}
    ((_, numbers),) = fleet(replace(scenario, faults=(Fault(**(told | fault)),))).faults
    return numbers


GROUPS = (sensors("lab", 2, memory=7), sensors("roof", 10, speed=5.0, speed_spread=1.0))


def test_members_are_numbered_and_named_through_their_groups() -> None:
    made = fleet(streams(groups=GROUPS))

    assert [one.number for one in made.members] == list(range(12))
    assert [one.name for one in made.members][:4] == [
        "lab-00000",
        "lab-00001",
        "roof-00000",
        "roof-00001",
    ]
    assert Counter(one.group.name for one in made.members) == {"lab": 2, "roof": 10}
    assert [one.device.name for one in made.members] == [one.name for one in made.members]


def test_devices_of_streams_are_agents_with_sensors_and_those_of_tables_hold_rows() -> None:
    of_streams, of_tables = fleet(streams()), fleet(tables())

    assert all(isinstance(one.device, VirtualDevice) for one in of_streams.members)
    assert list(of_streams.sensors) == of_streams.members
    assert all(isinstance(one.device, Holder) for one in of_tables.members)
    assert of_tables.sensors == {}


def test_alike_devices_differ_where_their_group_says_so() -> None:
    members = fleet(streams(groups=GROUPS)).members

    assert {one.speed for one in members[:2]} == {2.0}
    assert len({one.speed for one in members[2:]}) == 10
    assert len({one.phase for one in members}) == 12
    assert all(0 <= one.phase < 1 for one in members)


def test_batteries_are_full_and_clocks_wrong_within_what_is_said() -> None:
    group = sensors("all", 20, battery=Battery(capacity=9.0, charge=1.0), clock_skew=HOUR)

    members = fleet(streams(groups=(group,))).members

    assert {one.charge.seconds for one in members if one.charge is not None} == {9.0}
    skews = [one.skew for one in members]
    assert min(skews) < 0 < max(skews)
    assert max(map(abs, skews)) <= HOUR


def test_the_same_seed_draws_the_same_fleet() -> None:
    scenario = streams(groups=GROUPS, faults=(Fault(kind="crash", start=HOUR, share=0.5),))

    ours, theirs, others = fleet(scenario), fleet(scenario), fleet(scenario, seed=2)

    assert [one.speed for one in ours.members] == [one.speed for one in theirs.members]
    assert [one.speed for one in ours.members] != [one.speed for one in others.members]
    assert ours.faults == theirs.faults


# Who is hit, and who attacks


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 3), (1.0, 12)])
def test_a_fault_hits_its_share(share: float, count: int) -> None:
    numbers = hit(streams(groups=GROUPS), share=share)

    assert len(numbers) == count
    assert numbers == sorted(set(numbers))


def test_a_fault_hits_only_its_groups() -> None:
    numbers = hit(streams(groups=GROUPS), share=0.5, groups=("roof",))

    assert len(numbers) == 5
    assert min(numbers) >= 2


def test_sensors_have_the_faults_that_hit_their_device() -> None:
    fault = Fault(kind="unit", start=Duration(0), length=DAY, size=1e3, share=0.5)
    made = fleet(streams(groups=GROUPS, faults=(fault,)))
    well = fleet(streams(groups=GROUPS))
    ((_, numbers),) = made.faults

    for ours, theirs in zip(made.members, well.members, strict=True):
        broken, whole = made.sensors[ours].arrived(0), well.sensors[theirs].arrived(0)
        assert broken is not None
        assert whole is not None
        factor = broken.records[0].values[0] / whole.records[0].values[0]
        assert factor == pytest.approx(1e3 if ours.number in numbers else 1.0)


def test_attackers_take_their_share_and_leave_the_fleet_as_it_was() -> None:
    attackers = (Attacker(kind="zero", share=0.25), Attacker(kind="nan", groups=("roof",)))
    calm, tense = fleet(streams(groups=GROUPS)), fleet(streams(groups=GROUPS, attackers=attackers))

    kinds = Counter(one.attack.kind for one in tense.members if one.attack is not None)
    assert kinds["zero"] == 3
    assert kinds["nan"] == 2
    assert {one.group.name for one in tense.members if one.attack == attackers[1]} == {"roof"}
    for one, other in zip(calm.members, tense.members, strict=True):
        assert (one.speed, one.phase, one.skew) == (other.speed, other.phase, other.skew)


# The model and the settings


def test_the_model_is_made_for_the_data_and_the_seed() -> None:
    scenario = streams(model=Model(kind="mlp", hidden=(5,), window=4, personal="blend"))
    facts = open_source(scenario).facts
    bundle = make_bundle(scenario, facts)

    assert bundle.manifest.window == 4
    assert bundle.manifest.horizon == HOUR
    assert [one.name for one in bundle.manifest.channels] == [one.name for one in facts.channels]
    assert bundle.version_id == make_bundle(scenario, facts).version_id
    assert bundle.version_id != make_bundle(replace(scenario, seed=2), facts).version_id


def test_a_scenario_may_bring_its_model(tmp_path: Path) -> None:
    scenario = streams()
    made = make_bundle(scenario, open_source(scenario).facts)
    made.save(tmp_path / "model")

    brought = make_bundle(
        replace(scenario, model=Model(bundle=tmp_path / "model")),
        open_source(scenario).facts,
    )

    assert brought.version_id == made.version_id


def test_a_model_for_other_data_is_refused_in_words(tmp_path: Path) -> None:
    ours, theirs = streams(), streams(data=Series(channels=3, horizon=Duration(2 * HOUR)))
    make_bundle(ours, open_source(ours).facts).save(tmp_path / "model")
    brings = replace(theirs, model=Model(bundle=tmp_path / "model"))

    with pytest.raises(SettingsError) as refused:
        make_bundle(brings, open_source(brings).facts)

    channels, horizon = str(refused.value).splitlines()
    assert channels.startswith("model.bundle: simulated has channels ")
    assert horizon.endswith("horizon 1h, the data have 2h")


def test_agents_wait_for_labels_from_outside_only_where_there_are_any() -> None:
    forecast = fleet(streams())
    laboratory = fleet(streams(data=Series(channels=3, horizon=HOUR, label_delay=HOUR)))

    assert not forecast.pipeline.labels.outside
    assert laboratory.pipeline.labels.outside
    assert forecast.period_ms == HOUR


def test_weights_are_counted_in_bytes() -> None:
    made = fleet(tables(groups=(Group(name="all", devices=1),)))

    weights = pack(made.bundle.manifest, made.bundle.weights)

    assert made.packed_bytes == weights.nbytes == 4 * (2 * 3 * 3 + 3)  # values and gaps, biases
