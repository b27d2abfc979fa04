"""Every side gets the same model and the same records."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from benchmarks.agent import naive, workload
from benchmarks.agent.workload import CHANNELS, PERIOD, START_MS, Sensors
from headwater_models.bundle import Bundle


def test_the_model_is_signed_and_delegates_to_the_release_key(model: Path) -> None:
    bundle = Bundle.load(model, publisher=workload.PUBLISHER.public)
    statement, _ = bundle.verify()
    assert statement.release_keys == (workload.RELEASE.public,)
    assert bundle.manifest.reserve.share == 0


def test_the_scripts_know_the_model_s_channels() -> None:
    assert tuple(channel.name for channel in CHANNELS) == naive.CHANNELS
    assert (workload.TARGET, workload.WINDOW) == (naive.TARGET, naive.WINDOW)
    optimiser = workload.model().manifest.optimiser
    assert optimiser.learning_rate == naive.RATE


def test_records_are_the_same_at_each_start_and_however_they_are_taken() -> None:
    whole = Sensors(streams=3).take(100)
    parts = Sensors(streams=3)
    assert whole == [*parts.take(1), *parts.take(49), *parts.take(50)]
    assert parts.taken == 100


def test_streams_take_turns_a_period_apart() -> None:
    taken = Sensors(streams=2).take(4)
    assert [topic for topic, _ in taken] == ["sensors/s000", "sensors/s001"] * 2
    times = [json.loads(payload)["time"] for _, payload in taken]
    assert times == [START_MS, START_MS, START_MS + PERIOD, START_MS + PERIOD]


def test_channels_wander_in_small_steps_within_their_ranges() -> None:
    records = [json.loads(payload) for _, payload in Sensors().take(5_000)]
    for channel in CHANNELS:
        values = [record[channel.name] for record in records]
        assert all(channel.minimum < value < channel.maximum for value in values)
        longest = max(abs(b - a) for a, b in pairwise(values))
        assert 0 < longest < 0.006 * (channel.maximum - channel.minimum)
