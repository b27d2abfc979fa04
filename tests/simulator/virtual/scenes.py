"""Small scenarios that run in a moment, and runs that can be compared."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.settings import Duration
from headwater_coordinator.settings import Gate, Rounds
from headwater_models.arrays import Arrays
from headwater_models.manifest import Optimiser
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import (
    DAY,
    HOUR,
    Group,
    Link,
    Model,
    Scenario,
    Series,
    Synthetic,
)
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.engine import Engine

MINUTE = Duration(60_000)
OPTIMISER = Optimiser(name="sgd", learning_rate=0.05, batch=16)
EVERYTHING = Gate(tolerance=1.0)
"""A gate that releases every candidate: decisions that no rounding can turn."""


class Kept(Engine):
    """An engine that keeps the weights of its last release."""

    last: Arrays

    def _released(self, weights: Arrays) -> None:
        super()._released(weights)
        self.last = weights


def tables(**changed: Any) -> Scenario:
    """Six devices that hold rows of three classes, and a round every two minutes."""
    fields: dict[str, Any] = {
        "length": Duration(12 * MINUTE),
        "model": Model(kind="linear", optimiser=OPTIMISER),
        "data": Synthetic(features=3, classes=3, rows=80),
        "groups": (Group(name="all", devices=6, speed=50.0),),
        "federation": Rounds(pause=Duration(2 * MINUTE), check_in=Duration(2 * MINUTE)),
        "gate": EVERYTHING,
    }
    return Scenario(**(fields | changed))


def streams(**changed: Any) -> Scenario:
    """Four devices that forecast a series of hours, and a round every eight hours."""
    fields: dict[str, Any] = {
        "length": Duration(7 * DAY),
        "model": Model(kind="linear", window=2, optimiser=OPTIMISER),
        "data": Series(channels=2, horizon=HOUR),
        "groups": (sensors(),),
        "federation": Rounds(pause=Duration(8 * HOUR), check_in=Duration(8 * HOUR)),
        "gate": EVERYTHING,
    }
    return Scenario(**(fields | changed))


def sensors(name: str = "all", devices: int = 4, **changed: Any) -> Group:
    """Devices that take a minute for what others do in a second, and look every ten minutes."""
    fields: dict[str, Any] = {"speed": 2.0, "link": Link(poll=Duration(10 * MINUTE))}
    return Group(name=name, devices=devices, **(fields | changed))


def ran(scenario: Scenario, kind: type[Engine] = Engine, **how: Any) -> Results:
    return kind(scenario, open_source(scenario), **how).run("scene")


def same(ours: Results, theirs: Results, *, rel: float, counted: bool = True) -> None:
    """Hold two runs to be the same but for rounding, and for what is named after weights.

    Bytes may be a hundredth apart: messages spell numbers out, and not all are equally long.
    ``counted`` says that as many computations were stacked, too.
    """
    _alike(_told(ours, counted), _told(theirs, counted), rel, "results")


def _told(results: Results, counted: bool) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(results)
    for one in (*told["releases"], *told["rounds"]):
        one.pop("version", None)
        one.pop("words")
    if not counted:
        del told["totals"]["stacked"], told["totals"]["looped"]
    return told


def _alike(ours: Any, theirs: Any, rel: float, where: str) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key, value in theirs.items():
            _alike(ours[key], value, rel, f"{where}.{key}")
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), where
        for index, value in enumerate(theirs):
            _alike(ours[index], value, rel, f"{where}[{index}]")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=rel, abs=1e-6), where
    elif "bytes" in where:
        assert ours == pytest.approx(theirs, rel=0.01), where
    else:
        assert ours == theirs, where
