"""From what a scenario says of its data to the data."""

from __future__ import annotations

from typing import assert_never

from headwater.errors import SettingsError
from headwater_simulator.scenario.combinations import SENSOR_FAULTS
from headwater_simulator.scenario.settings import (
    Air,
    Replay,
    Scenario,
    Series,
    Synthetic,
    Table,
)
from headwater_simulator.sources.air import AirStreams
from headwater_simulator.sources.replay import ReplayedStreams
from headwater_simulator.sources.series import GeneratedStreams
from headwater_simulator.sources.source import Source
from headwater_simulator.sources.synthetic import SyntheticTables
from headwater_simulator.sources.tables import DealtTables


def open_source(scenario: Scenario) -> Source:
    """Return where the devices of a scenario get their data from.

    Raises
    ------
    SettingsError
        When files do not hold what the scenario says, naming file, column and row, or their rows
        cannot be dealt out as it says, or a channel is to break that is not there.
    StorageError
        When a file cannot be read.
    """
    source = _open(scenario)
    names = [channel.name for channel in source.facts.channels]
    for index, fault in enumerate(scenario.faults):
        if fault.kind in SENSOR_FAULTS and fault.channel >= len(names):
            raise SettingsError(
                f"faults[{index}].channel: there is no channel {fault.channel}; they are counted "
                f"from 0: {', '.join(names)}."
            )
    return source


def _open(scenario: Scenario) -> Source:
    window, seed = scenario.model.window, scenario.seed
    match scenario.data:
        case Series() as data:
            return GeneratedStreams(
                data, scenario.groups, length=scenario.length, window=window, seed=seed
            )
        case Replay() as data:
            return ReplayedStreams(data, window=window)
        case Air() as data:
            return AirStreams(data, window=window)
        case Table() as data:
            return DealtTables(data, devices=scenario.devices, seed=seed)
        case Synthetic() as data:
            return SyntheticTables(data, seed=seed)
        case _:
            assert_never(scenario.data)
