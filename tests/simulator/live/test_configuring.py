"""Settings that are written are the settings that real programs read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from headwater.settings import Duration
from headwater_agent.pipeline_settings import LearnerSettings, RefineSettings
from headwater_agent.settings import AgentSettings, load_settings
from headwater_coordinator.settings import Buffered, Firewall, Gate, Updates, read_settings
from headwater_simulator.live.configuring import agent, coordinator, section
from headwater_simulator.live.fleet import _AGENT
from headwater_simulator.scenario.settings import DAY, Agent, Group, Scenario, Series
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.fleet import LATE, Fleet, make_bundle

LEARN = LearnerSettings(batch=7, learning_rate=1e-5, refine=RefineSettings(epochs=3))


def scenario(**changes: object) -> Scenario:
    wanted = Scenario(
        length=DAY,
        data=Series(label_delay=Duration(60_000)),
        groups=(Group(name="all", devices=2, memory=123),),
        agent=Agent(learn=LEARN, guard=False, drift=True),
        federation=Buffered(buffer=3, learning_rate=0.25),
        firewall=Firewall(least_cosine=-0.5),
        update=Updates(compression="int8"),
        strategy={"name": "fedprox", "proximal_mu": 0.5},
    )
    return msgspec.structs.replace(wanted, **changes)


def read(wanted: Scenario, folder: Path) -> AgentSettings:
    source = open_source(wanted)
    fleet = Fleet(wanted, source, np.random.default_rng(1))
    planned = agent(wanted, source.facts, fleet.members[1], "it")
    assert planned.group == fleet.members[1].group.name
    file = folder / "agent.toml"
    file.write_text(
        _AGENT.format(
            device=planned.name,
            bundle='"model"',
            publisher="0" * 64,
            broker="mqtt://127.0.0.1:1883",
            prefix="it",
            topic=f"it/{planned.topic}",
            coordinator="https://127.0.0.1:1",
            authority="",
            more=planned.more,
        )
    )
    return load_settings(file, {})


def test_the_coordinator_reads_what_the_scenario_says(tmp_path: Path) -> None:
    wanted, gate = scenario(), Gate(test="t", confidence=0.9, min_evaluators=2)
    file = tmp_path / "coordinator.toml"
    file.write_text(coordinator(wanted, wanted.federation, gate))

    found = read_settings(file)

    assert found.federation == wanted.federation
    assert found.gate == gate
    assert (found.firewall, found.update) == (wanted.firewall, wanted.update)
    assert found.strategy == wanted.strategy


def test_an_agent_learns_as_the_scenario_says(tmp_path: Path) -> None:
    wanted = scenario()
    settings = read(wanted, tmp_path)
    manifest = make_bundle(wanted, open_source(wanted).facts).manifest

    assert settings.device == "all-00001"
    assert settings.pipeline(manifest).learn == LEARN
    assert settings.learn.buffer == 123
    assert (settings.guard.enabled, settings.drift.enabled) == (False, True)
    assert settings.pipeline(manifest).serve == wanted.agent.serve


def test_labels_from_outside_come_on_a_topic_of_their_own(tmp_path: Path) -> None:
    settings = read(scenario(), tmp_path)

    assert settings.inputs[0].pattern == "it/all-00001"
    assert settings.labels is not None
    assert settings.labels.pattern == "it/labels/all-00001"
    assert settings.labels.late == LATE


def test_a_forecast_has_no_labels_from_outside(tmp_path: Path) -> None:
    assert read(scenario(data=Series()), tmp_path).labels is None


def test_channels_have_fields_without_dots(tmp_path: Path) -> None:
    channels = read(scenario(data=Series(channels=2)), tmp_path).inputs[0].channels

    assert [one.field for one in channels.values()] == ["c0", "c1"]


def test_what_is_none_is_left_out_of_a_table() -> None:
    assert section("a", {"b": None, "c": [1, 2], "d": 0.5}) == "[a]\nc = [1,2]\nd = 0.5\n"
