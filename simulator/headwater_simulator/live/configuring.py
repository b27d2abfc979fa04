"""From a scenario to the settings files of real programs."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headwater.settings import encode_hook
from headwater_coordinator.settings import Buffered, Gate, Rounds
from headwater_simulator.live.fleet import STORE, Planned
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.source import Facts
from headwater_simulator.virtual.fleet import LATE
from headwater_simulator.virtual.member import Member

LABELS = "labels"
"""Second level of the topics that labels come on."""


def coordinator(scenario: Scenario, how: Rounds | Buffered, gate: Gate) -> str:
    """Return the settings of the coordinator, but for its ports, with these durations."""
    return "\n".join(
        (
            section("federation", _plain(how)),
            section("gate", _plain(gate)),
            section("firewall", _plain(scenario.firewall)),
            section("update", _plain(scenario.update)),
            section("strategy", scenario.strategy),
        )
    )


def agent(scenario: Scenario, facts: Facts, member: Member, prefix: str) -> Planned:
    """Return how an agent learns, and where it finds its channels and its labels.

    Parameters
    ----------
    prefix
        First level of all topics.
    """
    learn = scenario.agent.learn
    parts = [
        STORE,
        section(
            "learn",
            {
                "enabled": learn.enabled,
                "batch": learn.batch,
                "learning_rate": learn.learning_rate,
                "training": learn.training,
                "buffer": member.group.memory,
            },
        ),
        section("learn.refine", _plain(learn.refine)),
        section("serve", _plain(scenario.agent.serve)),
        section("guard", {"enabled": scenario.agent.guard}),
        section("drift", {"enabled": scenario.agent.drift}),
    ]
    parts += [
        section(f"input.channels.{_text(channel.name)}", {"field": field})
        for channel, field in zip(facts.channels, fields(facts), strict=True)
    ]
    if facts.task != "forecast":
        labels = {"pattern": f"{prefix}/{LABELS}/{member.name}", "value": "label", "late": LATE}
        parts.append(section("labels", labels))
        parts.append(section("labels.time", {"field": "time", "format": "ms"}))
    return Planned(member.name, member.name, "\n".join(parts), member.group.name)


def fields(facts: Facts) -> list[str]:
    """Return the names that channels have in the messages: theirs may have dots, as paths do."""
    return [f"c{number}" for number in range(len(facts.channels))]


def section(name: str, values: Mapping[str, object]) -> str:
    """Return a table of TOML; what is None is left out.

    Examples
    --------
    >>> print(section("learn", {"batch": 16, "learning_rate": None, "training": "replay"}), end="")
    [learn]
    batch = 16
    training = "replay"
    """
    said = [f"{key} = {_text(value)}" for key, value in values.items() if value is not None]
    return "".join(f"{line}\n" for line in (f"[{name}]", *said))


def _text(value: object) -> str:
    """Return a value as JSON writes it, which for all but tables is TOML."""
    return msgspec.json.encode(value, enc_hook=encode_hook).decode()


def _plain(settings: msgspec.Struct) -> dict[str, object]:
    made: dict[str, object] = msgspec.to_builtins(settings, enc_hook=encode_hook)
    return made
