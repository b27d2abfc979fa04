"""How fast a scenario goes by when real processes live it, and how fast they can."""

from __future__ import annotations

import msgspec

from headwater.settings import Duration
from headwater_coordinator.settings import Buffered, Gate, Rounds
from headwater_simulator.scenario.settings import HOUR, Scenario

RECORDS_PER_S = 300.0
"""Records of all devices in a second, as many as two cores take beside everything else."""

DEVICE_RECORDS_PER_S = 20.0
"""Records of one device in a second: its agent commits them every 200 ms."""

ROUND_S = 4.0
ROUND_S_PER_DEVICE = 1.0
"""What a round takes on two cores: devices look for messages every second, and each starts a
trainer for an update; what it answers costs the coordinator some 24 requests."""

PATIENCE_S = 30.0
PATIENCE_S_PER_DEVICE = 2.0
"""How long a deadline is at least: a trainer waits for its turn where all share a machine."""

CHECK_IN_S = 5.0
BACKOFF_S = 1.0
TTL_S = 120.0


def usual_speed(scenario: Scenario, period: Duration) -> float:
    """Return how many seconds of a scenario may go by in a real one.

    As many as the records of its devices and its rounds leave time for, and so many at least that
    it is over in an hour.

    Parameters
    ----------
    period
        Of the records of each device.
    """
    devices = scenario.devices
    possible = [
        int(period) / 1000 * min(DEVICE_RECORDS_PER_S, RECORDS_PER_S / devices),
    ]
    if isinstance(scenario.federation, Rounds):
        took = ROUND_S + ROUND_S_PER_DEVICE * devices
        possible.append(int(scenario.federation.pause) / 1000 / took)
    return max(1.0, int(scenario.length) / int(HOUR), min(possible))


def paced(
    how: Rounds | Buffered, gate: Gate, *, speed: float, devices: int
) -> tuple[Rounds | Buffered, Gate, list[str]]:
    """Shorten the durations of a federation, as far as real programs can keep them.

    Parameters
    ----------
    how, gate
        Of the scenario.
    speed
        Seconds of the scenario in a real one.
    devices
        How many there are.

    Returns
    -------
    tuple
        Both as the coordinator is told, and a sentence on each duration that had to be longer.
    """
    patience = max(PATIENCE_S, PATIENCE_S_PER_DEVICE * devices)
    least = {
        "deadline": patience,
        "check_in": max(CHECK_IN_S, devices / 2),
        "backoff": BACKOFF_S,
        "message_ttl": TTL_S,
        "pause": 0.0,
    }
    words: list[str] = []

    def shortened(path: str, wanted: Duration, floor: float) -> Duration:
        made = Duration(max(round(int(wanted) / speed), round(1000 * floor)))
        if made > wanted / speed + 1:
            lasts = Duration(round(made * speed / 60_000) * 60_000)
            words.append(
                f"{path} is {made}, which is {lasts} of the scenario in the place of {wanted}: "
                "real programs are no faster."
            )
        return made

    changed = {
        name: shortened(f"federation.{name}", getattr(how, name), floor)
        for name, floor in least.items()
        if hasattr(how, name)
    }
    judged = shortened("gate.deadline", gate.deadline, patience)
    changed["message_ttl"] = Duration(max(changed["message_ttl"], changed["deadline"], judged))
    return (
        msgspec.structs.replace(how, **changed),
        msgspec.structs.replace(gate, deadline=judged),
        words,
    )
