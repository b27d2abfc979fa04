"""What a scenario cannot be although each of its keys could be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from headwater.settings import Duration
from headwater_agent.answers import MIN_EXAMPLES, MIN_ROWS
from headwater_simulator.scenario.settings import (
    HOUR,
    Air,
    Drift,
    Fault,
    Group,
    Model,
    Outage,
    Replay,
    Scenario,
    Series,
    Synthetic,
    Table,
)
from headwater_simulator.sources.holding import LEAST

SENSOR_FAULTS = ("stuck", "spikes", "unit")
"""Faults of what is measured, which tables have not."""

Checks = dict[str, bool]
"""What is wrong, by the sentence that says it."""


def impossible_data(scenario: Scenario) -> Iterator[str]:
    """Yield what is wrong with the model and the data of a scenario."""
    yield from _wrong(_model(scenario.model, scenario))
    match scenario.data:
        case Series() as data:
            yield from _wrong(_series(data))
            for index, drift in enumerate(data.drifts):
                yield from _drift(f"data.drifts[{index}]", drift, data, scenario)
        case Replay() as data:
            yield from _wrong(_replay(data))
            yield from _missing("data.files", data.files)
        case Air() as data:
            yield from _wrong(_horizon(data.horizon, HOUR))
        case Table() as data:
            yield from _missing("data.files", data.files)
        case Synthetic() as data:
            yield from _wrong(_synthetic(data))


def impossible_fleet(scenario: Scenario) -> Iterator[str]:
    """Yield what is wrong with the devices of a scenario, and with what befalls them."""
    devices = scenario.devices
    yield from _wrong(
        {
            "length must be above zero": scenario.length <= 0,
            f"federation.min_devices must be at most {devices}, the number of devices": (
                scenario.federation.min_devices > devices
            ),
            f"gate.min_evaluators must be at most {devices}, the number of devices": (
                scenario.gate.min_evaluators > devices
            ),
        }
    )
    times = Counter(group.name for group in scenario.groups)
    yield from (f"groups: {name} stands there {n} times" for name, n in times.items() if n > 1)
    for index, group in enumerate(scenario.groups):
        yield from _wrong(_group(f"groups[{index}]", group, scenario))
    for index, outage in enumerate(scenario.outages):
        yield from _outage(f"outages[{index}]", outage, scenario)
    for index, fault in enumerate(scenario.faults):
        yield from _fault(f"faults[{index}]", fault, scenario)
    yield from _attackers(scenario)


def _model(model: Model, scenario: Scenario) -> Checks:
    return {
        "model.window must be 1 where the data are a table, whose rows do not follow each other": (
            _tables(scenario) and model.window > 1
        ),
        "model.kind: an autoencoder looks for anomalies, and these data are to be predicted": (
            model.kind == "autoencoder"
        ),
        "model: a bundle says everything itself; remove the other keys": (
            model.bundle is not None and model != Model(bundle=model.bundle)
        ),
        f"model.bundle: there is no {model.bundle}": (
            model.bundle is not None and not model.bundle.exists()
        ),
    }


def _series(data: Series) -> Checks:
    return _horizon(data.horizon, data.period) | {
        "data.season and data.second_season must be above zero": (
            min(data.season, data.second_season) <= 0
        ),
        "data.amplitude or data.noise must be above zero": data.amplitude == data.noise == 0,
        "data.channels must be at least 2 with data.label_delay: the first one is the label": (
            data.label_delay > 0 and data.channels < 2
        ),
    }


def _drift(path: str, drift: Drift, data: Series, scenario: Scenario) -> Iterator[str]:
    yield from _strangers(path, drift.groups, scenario)
    yield from _wrong(
        {
            f"{path}.at must be before the end, {scenario.length}": drift.at >= scenario.length,
            f"{path}.over must be above zero for a {drift.kind} drift": (
                drift.kind != "sudden" and drift.over <= 0
            ),
            f"{path}.size is in deviations of the noise, and data.noise is 0": (
                drift.what == "level" and data.noise == 0
            ),
        }
    )


def _replay(data: Replay) -> Checks:
    horizon = _horizon(data.horizon, data.period) if data.target else {}
    return horizon | {
        "data.period must be above zero": data.period <= 0,
        "data: say target, a column to forecast, or label, a column to predict; one of the two": (
            bool(data.target) == bool(data.label)
        ),
        "data.label_delay is for labels, not for a forecast, whose labels are its own records": (
            data.label_delay > 0 and bool(data.target)
        ),
        "data.target must be one of data.channels": (
            bool(data.target and data.channels) and data.target not in data.channels
        ),
    }


def _synthetic(data: Synthetic) -> Checks:
    return {
        f"data.rows must be at least {LEAST}: a device learns from {MIN_EXAMPLES} rows and judges "
        f"on {MIN_ROWS}": data.rows is not None and data.rows < LEAST,
    }


def _horizon(horizon: Duration, period: Duration) -> Checks:
    return {
        "data.period must be above zero": period <= 0,
        f"data.horizon must be a multiple of the period, {period}, above zero": (
            horizon <= 0 or horizon % max(period, 1) != 0
        ),
    }


def _group(path: str, group: Group, scenario: Scenario) -> Checks:
    return {
        f"{path}.joins must be before the end, {scenario.length}": group.joins >= scenario.length,
        f"{path}.leaves must be after {path}.joins": (
            group.leaves is not None and group.leaves <= group.joins
        ),
        f"{path}.duty.on must be above zero": group.duty.on <= 0,
        f"{path}.link.poll must be above zero": group.link.poll <= 0,
        f"{path}.clock_skew: a table has no times that a wrong clock could tell": (
            group.clock_skew != 0 and _tables(scenario)
        ),
    }


def _outage(path: str, outage: Outage, scenario: Scenario) -> Iterator[str]:
    yield from _strangers(path, outage.groups, scenario)
    if outage.start >= scenario.length:
        yield f"{path}.start must be before the end, {scenario.length}"


def _fault(path: str, fault: Fault, scenario: Scenario) -> Iterator[str]:
    yield from _strangers(path, fault.groups, scenario)
    yield from _wrong(
        {
            f"{path}.start must be before the end, {scenario.length}": (
                fault.start >= scenario.length
            ),
            f"{path}.kind: a table has no sensor that could be at fault": (
                fault.kind in SENSOR_FAULTS and _tables(scenario)
            ),
            f"{path}.kind: a table has no times that a wrong clock could tell": (
                fault.kind == "clock-jump" and _tables(scenario)
            ),
        }
    )


def _attackers(scenario: Scenario) -> Iterator[str]:
    shares: Counter[str] = Counter()
    for index, attacker in enumerate(scenario.attackers):
        path = f"attackers[{index}]"
        yield from _strangers(path, attacker.groups, scenario)
        if attacker.start >= scenario.length:
            yield f"{path}.start must be before the end, {scenario.length}"
        for name in attacker.groups or [group.name for group in scenario.groups]:
            shares[name] += round(attacker.share * 1_000_000)
    for name, share in shares.items():
        if share > 1_000_000:
            yield f"attackers: in group {name} there are {share / 10_000:g} % of them; lower share"


def _strangers(path: str, named: tuple[str, ...], scenario: Scenario) -> Iterator[str]:
    known = [group.name for group in scenario.groups]
    for name in named:
        if name not in known:
            yield f"{path}.groups: there is no group {name}; there is {', '.join(known)}"


def _tables(scenario: Scenario) -> bool:
    return isinstance(scenario.data, Table | Synthetic)


def _missing(path: str, files: tuple[Path, ...]) -> Iterator[str]:
    if not files:
        yield f"{path}: name at least one file"
    for file in files:
        if not file.is_file():
            yield f"{path}: there is no file {file}"


def _wrong(checks: Checks) -> Iterator[str]:
    return (words for words, wrong in checks.items() if wrong)
