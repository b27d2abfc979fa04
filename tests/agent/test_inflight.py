from __future__ import annotations

import random
from collections import deque

import pytest

from headwater_agent.inflight import InFlight

GROUP = 500
COMMIT_S = 1.0
STEP_S = 0.005


class Stage:
    """A broker that sends only so many unacknowledged, and a store that commits in groups.

    Time goes in steps of five milliseconds; an acknowledgement is heard a *trip* later.
    """

    def __init__(self, window: int, trip: int = 1) -> None:
        self.flow = InFlight(GROUP)
        self.now = 0.0
        self.acknowledged = 0
        self.groups: list[int] = []
        self.window, self._trip = window, trip
        self._queue = 0
        self._flying = 0
        self._waiting, self._since = 0, 0.0
        self._heard: deque[tuple[float, int]] = deque()

    def step(self, published: int = 0) -> None:
        self.now += STEP_S
        while self._heard and self._heard[0][0] <= self.now:
            self._flying -= self._heard.popleft()[1]
        self._queue += published
        came = min(self._queue, self.window - self._flying)
        self._queue -= came
        self._flying += came
        self.flow.arrived(came, self.now)
        if came and not self._waiting:
            self._since = self.now
        self._waiting += came
        if self._waiting >= self.flow.group or (
            self._waiting and self.now - self._since >= COMMIT_S
        ):
            self.groups.append(self._waiting)
            self.flow.acknowledged(self._waiting, self.now)
            self.acknowledged += self._waiting
            self._heard.append((self.now + self._trip * STEP_S, self._waiting))
            self._waiting = 0

    def run(self, seconds: float, published: int) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step(published)

    def bursts(self, seconds: int, size: int, every_s: float) -> None:
        due = self.now
        for _ in range(round(seconds / STEP_S)):
            burst = self.now >= due
            due += burst * every_s
            self.step(size * burst)


@pytest.mark.parametrize("window", [1, 2, 10, 32, 300])
@pytest.mark.parametrize("trip", [1, 20])
def test_the_limit_of_a_broker_that_stands_still_is_found_out(window: int, trip: int) -> None:
    stage = Stage(window, trip)
    stage.run(10, published=10)
    assert stage.flow.group == max(1, window // 2)
    before = stage.acknowledged
    stage.run(1, published=10)
    assert stage.acknowledged - before > 5 * window


def test_a_broker_that_sends_as_many_as_a_group_is_never_suspected() -> None:
    stage = Stage(2 * GROUP)
    stage.run(20, published=10)
    assert stage.flow.group == GROUP


@pytest.mark.parametrize("every_s", [1.0, 1.005, 0.995, 0.5, 2.0, 3.0])
def test_sensors_that_speak_together_are_not_taken_for_a_limit(every_s: float) -> None:
    """Even where they do so just when what they said before is acknowledged."""
    stage = Stage(2 * GROUP)
    stage.bursts(600, 5, every_s)
    assert stage.flow.group == GROUP
    assert len(stage.groups) <= 600 / max(COMMIT_S, every_s) + 20


def test_a_slow_stream_is_never_suspected() -> None:
    stage = Stage(32)
    for _ in range(300):
        stage.step(1)
        for _ in range(19):
            stage.step()
    assert stage.flow.group == GROUP


def test_a_limit_that_turns_out_higher_is_forgotten_and_found_out_again() -> None:
    stage = Stage(10)
    stage.run(10, published=10)
    assert stage.flow.group == 5
    stage.window = 100  # as after a reconnection to another broker
    stage.run(0.1, published=10)
    assert stage.flow.group == GROUP
    stage.run(10, published=10)
    assert stage.flow.group == 50


def test_nothing_is_concluded_where_nothing_comes() -> None:
    flow = InFlight(GROUP)
    rng = random.Random(0)
    for step in range(1_000):
        flow.arrived(0, step * 0.1)
        flow.acknowledged(rng.choice([0, 1, 7]), step * 0.1)
    assert flow.group == GROUP


def test_a_group_is_never_empty() -> None:
    assert InFlight(0).group == 1
