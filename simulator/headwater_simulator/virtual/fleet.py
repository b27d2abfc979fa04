"""The fleet of a scenario: its model, its members with their data, and who is hit by what."""

from __future__ import annotations

import numpy as np

from headwater.errors import SettingsError, UnsupportedError
from headwater.settings import Duration
from headwater_agent.drift_settings import DriftSettings
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.pipeline_settings import LabelRules, PipelineSettings
from headwater_agent.releases import first_version
from headwater_models.arrays import packed_size
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.manifest import Manifest
from headwater_simulator.device import VirtualDevice
from headwater_simulator.scenario.settings import Fault, Group, Scenario
from headwater_simulator.sources.source import Facts, Source, Streams, Tables
from headwater_simulator.virtual.far import FarHolder
from headwater_simulator.virtual.holder import Holder
from headwater_simulator.virtual.measuring import Sensors
from headwater_simulator.virtual.member import (
    Charge,
    Member,
    choose_attackers,
    draw_skew,
    draw_speed,
    named,
    numbers,
)

LATE = Duration(30 * 86_400_000)
"""How late a label from outside may come in a simulation."""


class Fleet:
    """Who takes part.

    Parameters
    ----------
    scenario
        What is simulated.
    source
        The data of the devices.
    rng
        Of all that differs between devices.
    far
        Whether devices of tables are trained where their rows are, not here.

    Attributes
    ----------
    bundle
        The model that all begin with.
    members
        By their numbers.
    sensors
        Those of the members with a stream.
    faults
        Each with the numbers of the devices that it hits.
    pipeline
        The settings of every agent.
    """

    def __init__(
        self, scenario: Scenario, source: Source, rng: np.random.Generator, *, far: bool = False
    ) -> None:
        self._scenario, self._source = scenario, source
        self._holder = FarHolder if far else Holder
        self.facts = source.facts
        self.bundle = make_bundle(scenario, self.facts)
        _refuse_elsewhere(self.bundle.manifest, far=far and isinstance(source, Tables))
        _refuse_without_effect(scenario, self.bundle.manifest, streams=isinstance(source, Streams))
        self.packed_bytes = 4 * packed_size(self.bundle.manifest)
        self.period_ms = int(self.facts.grid.period)
        self.pipeline = PipelineSettings(
            learn=scenario.agent.learn,
            serve=scenario.agent.serve,
            labels=LabelRules(outside=self.facts.task != "forecast", late=int(LATE)),
            guard=GuardSettings(enabled=scenario.agent.guard),
            drift=DriftSettings(enabled=scenario.agent.drift),
        )
        self._first = first_version(self.bundle)
        self.members = [
            self._member(number, index, group, rng)
            for number, (index, group) in enumerate(
                (index, group) for group in scenario.groups for index in range(group.devices)
            )
        ]
        self.faults = [
            (fault, _hit(numbers(scenario, fault.groups), fault, rng)) for fault in scenario.faults
        ]
        self.sensors: dict[Member, Sensors] = {}
        if isinstance(source, Streams):
            self._wire(source, rng)
        for number, attack in choose_attackers(scenario, rng).items():
            self.members[number].attack = attack

    def _member(self, number: int, index: int, group: Group, rng: np.random.Generator) -> Member:
        name = named(group, index)
        if isinstance(self._source, Streams):
            device: Holder | VirtualDevice = VirtualDevice(
                name, self.bundle, self.pipeline, group.memory
            )
        else:
            device = self._holder(name, number, self._source, self.bundle.manifest, self._first)
        battery = group.battery
        return Member(
            number=number,
            name=name,
            group=group,
            device=device,
            speed=draw_speed(group, rng),
            skew=draw_skew(group.clock_skew, rng),
            phase=float(rng.random()),
            charge=None if battery is None else Charge(battery, battery.capacity),
        )

    def _wire(self, streams: Streams, rng: np.random.Generator) -> None:
        hit: dict[int, list[Fault]] = {}
        for fault, hits in self.faults:
            for number in hits:
                hit.setdefault(number, []).append(fault)
        for member, seed in zip(self.members, rng.spawn(len(self.members)), strict=True):
            self.sensors[member] = Sensors(
                member.number,
                streams,
                stream=member.name,
                skew=member.skew,
                joins=int(member.group.joins),
                leaves=None if member.group.leaves is None else int(member.group.leaves),
                faults=hit.get(member.number, ()),
                rng=seed,
            )


def make_bundle(scenario: Scenario, facts: Facts) -> Bundle:
    """Return the model that a scenario begins with: its own, or a new one for its data.

    Raises
    ------
    SettingsError
        When its own is for other data.
    """
    model = scenario.model
    if model.bundle is not None:
        bundle = Bundle.load(model.bundle)
        _refuse_others(bundle.manifest, facts)
        return bundle
    spec = ModelSpec(
        kind=model.kind,
        name="simulated",
        task=facts.task,
        channels=facts.channels,
        grid=facts.grid,
        window=model.window,
        target=facts.target,
        horizon=facts.horizon,
        classes=facts.classes,
        loss=facts.loss,
        optimiser=model.optimiser,
        reserve=facts.reserve,
        hidden=model.hidden,
        activation=model.activation,
        personal=model.personal,
        learner=model.learner,
        scaling=facts.scaling,
    )
    return build(spec, np.random.default_rng(scenario.seed)).bundle()


def _refuse_others(manifest: Manifest, facts: Facts) -> None:
    """Refuse a model that does not read or predict what the data have."""
    names = [channel.name for channel in manifest.channels]
    compared = {
        "task": (manifest.task, facts.task),
        "channels": (", ".join(names), ", ".join(channel.name for channel in facts.channels)),
        "period": (manifest.grid.period, facts.grid.period),
        "target": (manifest.target, facts.target),
        "horizon": (manifest.horizon, facts.horizon),
        "classes": (", ".join(manifest.classes), ", ".join(facts.classes)),
    }
    wrong = [
        f"model.bundle: {manifest.name} has {name} {ours}, the data have {theirs}"
        for name, (ours, theirs) in compared.items()
        if ours != theirs
    ]
    if wrong:
        raise SettingsError("\n".join(wrong))


def _refuse_elsewhere(manifest: Manifest, *, far: bool) -> None:
    """Refuse to gather statistics of rows that are elsewhere."""
    if far and manifest.statistics:
        raise UnsupportedError(
            f"Model {manifest.name} is solved from statistics, which are gathered here and not on "
            "a Ray cluster; run the scenario with --engine virtual."
        )


def _refuse_without_effect(scenario: Scenario, manifest: Manifest, *, streams: bool) -> None:
    """Refuse attackers who turn labels where no update is made of stored examples."""
    at_once = manifest.statistics or (streams and scenario.agent.learn.training == "stream")
    for index, attacker in enumerate(scenario.attackers):
        if at_once and attacker.kind == "label-flip":
            raise SettingsError(
                f"attackers[{index}].kind: label-flip turns the labels of stored examples when an "
                "update is made of them, and these devices learn for the fleet as examples come; "
                "name another attack, such as sign-flip."
            )


def _hit(candidates: list[int], fault: Fault, rng: np.random.Generator) -> list[int]:
    """Draw whom a fault hits."""
    return sorted(rng.permutation(candidates)[: round(fault.share * len(candidates))].tolist())
