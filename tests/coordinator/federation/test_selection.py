"""Selection: everyone alike, the neglected first, or those whose data promise most."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_coordinator.federation.selection import Selection, Way, select
from headwater_coordinator.state import Device

WAYS: tuple[Way, ...] = ("uniform", "fair", "guided")


def make(way: Way, seed: int = 0, exploration: float = 0.2) -> Selection:
    return select(way, np.random.default_rng(seed), exploration)


def work(selection: Selection, devices: list[Device], times: int, count: int) -> Counter[str]:
    """Let devices be picked, train and come back."""
    known = {device.node: device for device in devices}
    asked: Counter[str] = Counter()
    for now in range(times):
        for node in selection.pick(count):
            device = known[node]
            asked[node] += 1
            selection.discard_all([node])
            device.asked, device.asked_ms = device.asked + 1, now
            selection.learned(device)
            selection.add(device)
    return asked


@pytest.mark.parametrize("way", WAYS)
@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40),
    count=st.integers(0, 12),
)
def test_it_picks_those_that_are_there_and_no_one_twice(
    way: Way, steps: list[tuple[bool, int]], count: int
) -> None:
    selection, there = make(way), set[str]()
    for add, number in steps:
        device = Device(str(number), utility=float(number), duration_ms=100 * number)
        if add:
            selection.add(device)
            selection.learned(device)
            there.add(device.node)
        else:
            selection.discard_all([device.node])
            there.discard(device.node)
    picked = selection.pick(count)
    assert len(selection) == len(there)
    assert len(picked) == len(set(picked)) == min(count, len(there))
    assert set(picked) <= there
    assert len(selection) == len(there), "who is picked stays until discarded"


@pytest.mark.parametrize("way", WAYS)
def test_the_same_seed_picks_the_same(way: Way) -> None:
    def picked(seed: int) -> list[list[str]]:
        selection = make(way, seed)
        for number in range(50):
            selection.add(Device(str(number), utility=number))
        return [selection.pick(5) for _ in range(5)]

    assert picked(3) == picked(3)
    assert picked(3) != picked(4)


def test_fair_asks_everyone_once_before_anyone_twice() -> None:
    devices = [Device(str(number)) for number in range(30)]
    selection = make("fair")
    for device in devices:
        selection.add(device)
    for _ in range(3):
        asked = work(selection, devices, times=10, count=3)
        assert set(asked.values()) == {1}
        assert len(asked) == 30


def test_fair_asks_a_newcomer_next() -> None:
    devices = [Device(str(number), asked=4) for number in range(30)]
    selection = make("fair")
    for device in [*devices, Device("new")]:
        selection.add(device)
    assert selection.pick(1) == ["new"]


def guided(devices: list[Device], exploration: float = 0.2) -> Counter[str]:
    selection = make("guided", exploration=exploration)
    for device in devices:
        selection.add(device)
        selection.learned(device)
    return work(selection, devices, times=400, count=5)


def test_guided_prefers_data_with_a_high_loss() -> None:
    devices = [Device(str(i), utility=100.0 if i < 10 else 1.0, asked=1) for i in range(100)]
    asked = guided(devices)
    assert sum(asked[str(i)] for i in range(10)) > 0.7 * asked.total()


def test_guided_leaves_no_one_out() -> None:
    devices = [Device(str(i), utility=100.0 if i < 10 else 0.0, asked=1) for i in range(100)]
    asked = guided(devices)
    assert min(asked[str(i)] for i in range(100)) >= 2


def test_guided_prefers_the_faster_of_two_alike() -> None:
    devices = [
        Device(str(i), utility=10.0, duration_ms=1_000 if i < 60 else 10_000, asked=1)
        for i in range(100)
    ]
    asked = guided(devices, exploration=0.05)
    assert sum(asked[str(i)] for i in range(60)) > 0.9 * asked.total()


def test_guided_gives_little_to_a_device_that_exaggerates() -> None:
    """Its own utility counts as at most the 95th percentile of all."""
    devices = [Device(str(i), utility=1e12 if i == 0 else 10.0, asked=1) for i in range(100)]
    selection = make("guided", exploration=0.05)
    for device in devices:
        selection.learned(device)
    for device in devices:
        selection.add(device)
    asked: Counter[str] = Counter()
    for _ in range(400):
        asked.update(selection.pick(5))
    assert asked["0"] <= 3 * max(asked[node] for node in asked if node != "0")
