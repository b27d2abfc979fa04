"""Values planted in the sensor data are looked for in all that device and coordinator exchange."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater.clock import now_ms
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import build
from headwater_simulator.air import specification
from headwater_simulator.broker import EmbeddedBroker
from headwater_simulator.live.fleet import PREFIX, LiveFleet, at_stations
from headwater_simulator.processes import crew
from headwater_simulator.publisher import Publisher
from headwater_simulator.streams import CHANNELS, HOUR_MS, shipped
from headwater_simulator.summary import snapshot
from tests.system.canary import Scaling, find, patterns
from tests.system.recorder import recorder

pytestmark = pytest.mark.system

# fmt: off
CANARY = (
    613.27, 721.83, 157.219, 183.417, 4127.31, 291.613, 21.4671,
    1013.271, -7.31927, 3.71829, 4.19273, -2.83719, 1.39271,
)
# fmt: on
LENGTH = 18
"""Hours for which the canary is in every channel: windows of nothing else, and labels."""
EVERY = 100
HOURS = 4_000


def scalings() -> list[Scaling]:
    """How the values could have been changed: as the model does, and to the unit interval."""
    made = specification(shipped()).scaling
    assert made is not None
    low = tuple(channel.minimum for channel in CHANNELS)
    wide = tuple(channel.maximum - channel.minimum for channel in CHANNELS)
    return [Scaling("standardised", made.mean, made.scale), Scaling("in [0, 1]", low, wide)]


def payloads(station: int) -> list[bytes]:
    """Return the station's records with the canary in some hours of every hundred."""
    names = [channel.name for channel in CHANNELS]
    made = []
    records = zip(shipped()[station].times, shipped()[station].payloads(), strict=True)
    for (time_ms, payload), _ in zip(records, range(HOURS), strict=False):
        hour = int(time_ms) // HOUR_MS
        if hour % EVERY < LENGTH:
            spoken = dict(zip(names, CANARY, strict=True))
            made.append(msgspec.json.encode({"time": int(time_ms), **spoken}))
        else:
            made.append(payload)
    return made


def until(done: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {what}"
        time.sleep(0.2)


def test_no_planted_value_is_in_any_message(tmp_path: Path) -> None:
    built = build(specification(shipped()), np.random.default_rng(0))
    Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    ).save(tmp_path / "model")
    names = [station.name for station in shipped()[:2]]
    with recorder() as tap, crew(tmp_path / "logs", os.environ) as hands:
        broker = EmbeddedBroker(hands, tmp_path)
        fleet = LiveFleet(
            hands,
            tmp_path,
            tmp_path / "model",
            broker=broker.url,
            planned=at_stations(names),
            now=now_ms(),
            through=tap.through,
        )
        fleet.wait()
        with closing(Publisher(broker.url, "stations")) as publisher:
            for records in zip(payloads(0), payloads(1), strict=True):
                for name, payload in zip(names, records, strict=True):
                    publisher.send(f"{PREFIX}/{name}", payload)
        until(lambda: all(d.records == HOURS for d in snapshot(fleet, 0).devices), "all is read")
        rounds = snapshot(fleet, 0).rounds
        until(lambda: snapshot(fleet, 0).rounds >= rounds + 2, "two rounds over the planted data")
        until(lambda: all(d.sequence > 1 for d in snapshot(fleet, 0).devices), "a release")
        fleet.check()
    assert_all_kinds_of_messages_were_seen(tap.sent, tap.received)
    wanted = patterns(CANARY, scalings())
    for path, body in [*tap.sent, *tap.received]:
        assert find(body, wanted) == set(), path


def assert_all_kinds_of_messages_were_seen(
    sent: list[tuple[str, bytes]], received: list[tuple[str, bytes]]
) -> None:
    """The search above means something only if updates and weights did pass by."""
    upwards = b"".join(body for _, body in sent)
    downwards = b"".join(body for _, body in received)
    for word in (b'"type":"update"', b'"type":"evaluated"', b'"type":"checked-in"'):
        assert word in upwards
    for word in (b'"type":"train"', b'"type":"eval"', b'"type":"release"'):
        assert word in downwards
    assert max(len(body) for path, body in sent if path.endswith("push-object")) > 50_000
    assert max(len(body) for path, body in received if path.endswith("pull-object")) > 50_000
