"""CPU per event and sustained events: backlogs worked off, and streams at a steady rate."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.agent.sides import AGENT, AGENT_THAT_LINGERS, CannotRunError, status_of
from benchmarks.agent.stage import Running, Spent, stage
from benchmarks.report import Better, Figure

NAIVE = ("naive_script", "naive_river")
FLOOR = ("mosquitto_sub", "echo_c", "echo")
"""What the transport alone takes: a subscriber that does nothing, and clients that only answer."""
RATES = (10, 100, 1_000)
STREAMS = 300
MODELS = 300

PILOT = 2_000
"""Records of the backlog from which it is judged how many keep a side busy for long enough."""

MOST = 250_000
"""Records of a backlog at most, which the broker holds in memory."""

Figures = dict[str, float | Figure]


@dataclass(frozen=True)
class Effort:
    """How much is measured: turns of each side, seconds of each measurement, how many of what."""

    turns: int = 3
    seconds: float = 6.0
    rates: tuple[int, ...] = RATES
    pilot: int = PILOT
    streams: int = STREAMS
    models: int = MODELS


@dataclass(slots=True)
class Found:
    """What was measured, by measurement and side, and who could not run.

    Of the agent also the share of records that is in its store, and what it counted.
    """

    spent: dict[str, dict[str, list[Spent]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    missing: dict[str, str] = field(default_factory=dict)
    stored: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    counted: Counter[str] = field(default_factory=Counter)


def measure(model: Path, effort: Effort, missing: dict[str, str]) -> Figures:
    """Return the figures of one stream at QoS 0 and 1; who cannot run is added to *missing*."""
    sides = (AGENT, *NAIVE, *FLOOR)
    found = Found(missing=missing)
    for _ in range(effort.turns):
        for qos in (0, 1):
            for side in sides:
                _take_turn(found, model, effort, side, qos)
        with stage(model) as place, place.side(AGENT_THAT_LINGERS, 0) as running:
            running.warm()
            _stream_steadily(found, running, effort, AGENT_THAT_LINGERS)
    rates: Figures = {}
    for rate in effort.rates:
        spent = found.spent[f"rate {rate}"]
        lingering = {**spent, AGENT: spent[AGENT_THAT_LINGERS]}
        rates[f"cpu_per_event_at_{rate}"] = cost(spent, NAIVE)
        rates[f"cpu_per_event_at_{rate}_lingering"] = cost(lingering, NAIVE)
    return {
        "cpu_per_event": cost(found.spent["qos 0"], NAIVE),
        "cpu_per_event_qos1": cost(found.spent["qos 1"], NAIVE),
        **rates,
        **events(found.spent["qos 0"], "events_qos0"),
        "events_qos0_stored": min(found.stored["qos 0"]),
        **events(found.spent["qos 1"], "events_qos1"),
        "events_qos1_stored": min(found.stored["qos 1"]),
        **beside_floor(found.spent["qos 0"]),
        **beside_floor(found.spent["qos 1"], "_qos1"),
        **beside_floor(found.spent["live 0"], "_live"),
        "live_qos0_lost": lost(found.spent["live 0"]),
        **beside_floor(found.spent["live 1"], "_live_qos1"),
        "live_qos1_lost": lost(found.spent["live 1"]),
        **{f"counted_{name}": float(count) for name, count in found.counted.items()},
    }


def measure_streams(model: Path, effort: Effort, missing: dict[str, str]) -> Figures:
    """Return the figures of many streams, QoS 0."""
    found = Found(missing=missing)
    for _ in range(effort.turns):
        for side in (AGENT, NAIVE[0]):
            _take_turn(found, model, effort, side, 0, streams=effort.streams)
    name = f"events_{effort.streams}_streams"
    return {
        **events(found.spent["qos 0"], name),
        f"{name}_stored": min(found.stored["qos 0"]),
        **{f"{name}_counted_{what}": float(count) for what, count in found.counted.items()},
    }


def _take_turn(
    found: Found, model: Path, effort: Effort, side: str, qos: int, *, streams: int = 1
) -> None:
    """Let one side run through its measurements; note why where it cannot."""
    if side in found.missing:
        return
    try:
        with stage(model) as place, place.side(side, qos, streams) as running:
            running.warm()
            if side not in FLOOR and qos == 0 and streams == 1:
                _stream_steadily(found, running, effort, side)
            saturated = saturate(running, effort)
            found.spent[f"qos {qos}"][side].append(saturated)
            if side == AGENT:
                status = status_of(running.place)
                found.stored[f"qos {qos}"].append(status.records / running.sensors.taken)
                found.counted.update(status.counters)
        if streams == 1 and side not in NAIVE:
            with stage(model) as place, place.side(side, qos) as running:
                running.warm()
                found.spent[f"live {qos}"][side].append(running.live(saturated.events))
    except CannotRunError as error:
        if side == AGENT:
            raise
        found.missing[side] = str(error)


def _stream_steadily(found: Found, running: Running, effort: Effort, side: str) -> None:
    for rate in effort.rates:
        found.spent[f"rate {rate}"][side].append(running.at_rate(rate, effort.seconds))


def saturate(running: Running, effort: Effort) -> Spent:
    """Let a side work off a backlog that takes it about so many seconds of CPU."""
    pilot = running.backlog(effort.pilot)
    each = max(pilot.cpu_s, 1e-9) / effort.pilot
    return running.backlog(min(MOST, max(effort.pilot, int(effort.seconds / each))))


def compare(
    spent: Mapping[str, Sequence[Spent]],
    what: Callable[[Spent], float],
    *,
    peers: Sequence[str],
    unit: str,
    better: Better,
) -> Figure:
    """Return the medians over turns; the ratio is that to the first peer that ran."""
    medians = {
        side: statistics.median(what(turn) for turn in turns)
        for side, turns in spent.items()
        if side == AGENT or side in peers
    }
    ours = medians.pop(AGENT)
    first = next(iter(medians.values()), float("nan"))
    ratio = first / ours if better == "lower" else ours / first
    return Figure(ours=ours, peers=medians, ratio=ratio, unit=unit, better=better)


def cost(spent: Mapping[str, Sequence[Spent]], peers: Sequence[str]) -> Figure:
    """Return the CPU per event."""
    return compare(spent, _cpu_us, peers=peers, unit="us", better="lower")


def events(spent: Mapping[str, Sequence[Spent]], name: str) -> Figures:
    """Return events per second by the clock and by the CPU, and the share that ours lost."""
    return {
        name: compare(spent, _per_second, peers=NAIVE, unit="1/s", better="higher"),
        f"{name}_cpu": compare(spent, _per_cpu, peers=NAIVE, unit="1/s of CPU", better="higher"),
        f"{name}_lost": lost(spent),
    }


def lost(spent: Mapping[str, Sequence[Spent]]) -> float:
    """Return the share of records that ours gave no answer to."""
    return statistics.fmean(turn.lost / (turn.events + turn.lost) for turn in spent[AGENT])


def beside_floor(spent: Mapping[str, Sequence[Spent]], suffix: str = "") -> Figures:
    """Return events per second by the clock beside those of each client that does next to nothing.

    Parameters
    ----------
    suffix
        Of the figures' names.
    """
    return {
        f"vs_{peer}{suffix}": compare(spent, _per_second, peers=[peer], unit="1/s", better="higher")
        for peer in FLOOR
        if peer in spent
    }


def _cpu_us(turn: Spent) -> float:
    return 1e6 * turn.cpu_s / max(1, turn.events)


def _per_second(turn: Spent) -> float:
    return turn.events / turn.wall_s


def _per_cpu(turn: Spent) -> float:
    return turn.events / turn.cpu_s
