"""What a scenario says that real processes on one machine cannot live, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.errors import UnsupportedError
from headwater_models.manifest import Schedule
from headwater_simulator.scenario.settings import Group, Link, Scenario
from headwater_simulator.sources.source import Source, Streams

MOST_DEVICES = 50
"""Each is two processes, some 200 MB."""

_LINK = ("latency", "jitter", "up", "down", "loss", "duplication", "reordering", "poll")


def refuse(scenario: Scenario, source: Source) -> Streams:
    """Return the streams of a scenario that can be lived.

    Raises
    ------
    UnsupportedError
        When it has too many devices, or they have no streams.
    """
    if scenario.devices > MOST_DEVICES:
        raise UnsupportedError(
            f"The live engine starts two processes for each device, for {MOST_DEVICES} devices at "
            f"most, and the scenario has {scenario.devices}. Take fewer, or the virtual engine."
        )
    if not isinstance(source, Streams):
        raise UnsupportedError(
            "The live engine needs a stream, whose records it publishes as time goes by; a table "
            f'is there at once (data.kind = "{scenario.data.__struct_config__.tag}"). Take '
            '"series", "replay" or "air", or the virtual engine.'
        )
    return source


def left_out(scenario: Scenario, schedule: Schedule) -> Iterator[str]:
    """Yield a sentence for each thing that is left out.

    Parameters
    ----------
    schedule
        Of the learning rate in the model, by which agents go.
    """
    yield (
        "Left out on the live engine: how fast devices compute and how long their links take, "
        "which are those of this machine; bytes to devices are not counted."
    )
    for group in scenario.groups:
        keys = list(_of_group(group))
        if keys:
            yield f"Left out on the live engine, group {group.name}: {', '.join(keys)}."
    for attacker in scenario.attackers:
        yield (
            f"Left out on the live engine: the {attacker.kind} attack. Real agents send what they "
            "learned."
        )
    if scenario.agent.learn.schedule != schedule:
        yield "Left out on the live engine: agent.learn.schedule. Real agents take the model's."


def _of_group(group: Group) -> Iterator[str]:
    usual = Group(name=group.name, devices=1)
    for key in ("speed", "speed_spread", "delay", "battery"):
        if getattr(group, key) != getattr(usual, key):
            yield key
    for key in _LINK:
        if getattr(group.link, key) != getattr(Link(), key):
            yield f"link.{key}"
