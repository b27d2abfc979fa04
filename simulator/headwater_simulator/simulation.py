"""A scenario run from Python: in a script, in a notebook, with a strategy of one's own."""

from __future__ import annotations

from pathlib import Path

import msgspec

from headwater.errors import SettingsError
from headwater_coordinator.strategies import Strategy
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.catalogue import find
from headwater_simulator.scenario.reading import read_scenario
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.opening import open_source
from headwater_simulator.sources.source import Source
from headwater_simulator.virtual.engine import Engine, Progress


def load(scenario: str | Path) -> Scenario:
    """Read a scenario: a shipped one by its name, or a file.

    Change it with :func:`msgspec.structs.replace`.

    Raises
    ------
    SettingsError
        When there is none, or it says something that cannot work.

    Examples
    --------
    >>> load("quickstart").devices
    20
    """
    return read_scenario(find(str(scenario)))


def simulate(
    scenario: Scenario | str | Path,
    *,
    strategy: Strategy | None = None,
    seed: int | None = None,
    source: Source | None = None,
    name: str = "",
    device_by_device: bool = False,
    threads: int = 1,
    progress: Progress | None = None,
) -> Results:
    """Run a scenario on the virtual engine.

    Parameters
    ----------
    scenario
        What is simulated: a shipped one's name, a file, or what :func:`load` gave.
    strategy
        Merges updates instead of the scenario's.
    seed
        Instead of the scenario's.
    source
        The data of the devices instead of the scenario's; any object of the protocol.
    name
        What to call the run in the report; by default as the scenario, or its strategy.
    device_by_device
        Compute for each device alone, as devices do.
    threads
        Within one operator of a model.
    progress
        Told now and then which share of the run is over.

    Returns
    -------
    Results
        What the report's JSON holds; equal for equal arguments.

    Raises
    ------
    SettingsError
        When the scenario says something that cannot work.
    """
    settings = scenario if isinstance(scenario, Scenario) else load(scenario)
    if seed is not None:
        settings = msgspec.structs.replace(settings, seed=seed)
    if strategy is not None:
        settings = msgspec.structs.replace(settings, strategy=_table(strategy))
    if not name:
        name = type(strategy).__name__ if strategy is not None else _named(scenario)
    data = open_source(settings) if source is None else source
    engine = Engine(settings, data, strategy=strategy, one_by_one=device_by_device, threads=threads)
    return engine.run(name, progress)


def _named(scenario: Scenario | str | Path) -> str:
    return "scenario" if isinstance(scenario, Scenario) else Path(scenario).stem


def _table(strategy: Strategy) -> dict[str, object]:
    """Return what a report says of a strategy: its name and arguments."""
    try:
        arguments: dict[str, object] = msgspec.to_builtins(strategy)
    except TypeError as error:
        raise SettingsError(f"{type(strategy).__name__}: {error}; use plain arguments.") from error
    return {"name": type(strategy).__name__, **arguments}
