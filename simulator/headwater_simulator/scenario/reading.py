"""From a scenario file to a scenario, checked whole: every wrong key, and what cannot work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from headwater.errors import SettingsError
from headwater.settings import convert, load_toml
from headwater_coordinator.settings import impossible, misplaced
from headwater_coordinator.strategies import choose
from headwater_simulator.scenario.combinations import impossible_data, impossible_fleet
from headwater_simulator.scenario.settings import Replay, Scenario, Table


def read_scenario(path: Path) -> Scenario:
    """Read and check a scenario.

    Files that it names are looked for from its own folder.

    Raises
    ------
    SettingsError
        With a line for each wrong key, or a sentence for each combination that cannot work.
    """
    raw = load_toml(path)
    wrong = [f"{path}: {complaint}" for complaint in misplaced(raw)]
    try:
        scenario = _located(convert(raw, Scenario, source=str(path)), path.parent)
    except SettingsError as error:
        raise SettingsError("\n".join((*wrong, str(error)))) from error
    wrong += _impossible(scenario, str(path))
    if wrong:
        raise SettingsError("\n".join(wrong))
    return scenario


def _located(scenario: Scenario, folder: Path) -> Scenario:
    """Return a scenario whose files are found from anywhere."""
    data, model = scenario.data, scenario.model
    if isinstance(data, Replay | Table):
        files = tuple(folder / file for file in data.files)
        data = msgspec.structs.replace(data, files=files)
    if model.bundle is not None:
        model = msgspec.structs.replace(model, bundle=folder / model.bundle)
    return msgspec.structs.replace(scenario, data=data, model=model)


def _impossible(scenario: Scenario, source: str) -> Iterator[str]:
    complaints = [*impossible_data(scenario), *impossible_fleet(scenario)]
    try:
        strategy = choose(scenario.strategy, source=source)
    except SettingsError as error:
        yield str(error)
    else:
        complaints += impossible(scenario.federation, scenario.gate, strategy)
    for complaint in complaints:
        yield f"{source}: {complaint}"
