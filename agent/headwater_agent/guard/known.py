"""What is taken for true of a stream's channels, and what is doubted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from headwater_agent.guard.channel import Sensor

_LONG_AGO, _FOREVER = -(2**62), 2**62


class Doubt(msgspec.Struct, array_like=True, gc=False):
    """A value that does not follow from the trusted one, and how often it was repeated."""

    value: float
    time: int
    repeated: int


class Known(msgspec.Struct, array_like=True):
    """What is known of each channel: one number in each list.

    ``before`` is what was trusted before the newest trusted value; ``far`` and ``next_far`` what
    was trusted long before. ``runs`` is how often the trusted value was repeated, ``longest`` how
    often any was.
    """

    trusted: list[float]
    trusted_at: list[int]
    before: list[float]
    far: list[float]
    next_far: list[float]
    runs: list[int]
    longest: list[int]

    @classmethod
    def nothing(cls, sensors: Sequence[Sensor]) -> Known:
        """Return what is known at first; a channel without an order is not to be listened to."""
        count = len(sensors)
        trusted, before, far, next_far = ([math.nan] * count for _ in range(4))
        trusted_at = [_LONG_AGO if sensor.ordered else _FOREVER for sensor in sensors]
        return cls(trusted, trusted_at, before, far, next_far, [0] * count, [0] * count)

    def is_all_of(self, time: int) -> bool:
        """Say whether the newest trusted value of every channel is of this time."""
        return self.trusted_at.count(time) == len(self.trusted_at)
