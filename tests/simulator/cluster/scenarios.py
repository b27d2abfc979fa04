"""A small scenario of a table, for what is done on a cluster."""

from __future__ import annotations

from headwater.settings import Duration
from headwater_coordinator.settings import Gate, Rounds, Updates
from headwater_simulator.scenario.settings import (
    HOUR,
    Fault,
    Group,
    Model,
    Scenario,
    Synthetic,
)

DEVICES = 7


def table(**changes: object) -> Scenario:
    """Return rounds of unequal devices, some of which crash, with compressed updates."""
    said = {
        "seed": 4,
        "length": Duration(6 * HOUR),
        "releases": 5,
        "model": Model(kind="linear"),
        "data": Synthetic(features=6, classes=3, least=80, mean_log=3.0, sigma_log=1.0),
        "groups": (Group(name="all", devices=DEVICES, speed_spread=0.5),),
        "faults": (Fault(kind="power-cut", start=Duration(0), length=HOUR, share=0.2),),
        "federation": Rounds(
            pause=Duration(600_000), epochs=2, learning_rate=0.05, check_in=Duration(300_000)
        ),
        "gate": Gate(tolerance=0.3),
        "update": Updates(compression="float16"),
        **changes,
    }
    return Scenario(**said)  # type: ignore[arg-type]
