"""What is known of a channel beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater_agent.units import Conversion, other_units
from headwater_models.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """What is known of a channel beforehand.

    A working sensor reports from ``minimum`` to ``maximum``; the moves of one whose values have
    an order are watched. A move over n times ``period`` may be the root of n as large; after a
    silence over ``gap`` the channel begins anew (both in milliseconds). ``foreign`` are the units,
    other than its own, in which it might suddenly come, each as the conversion into its own.
    """

    minimum: float
    maximum: float
    period: int
    gap: int
    ordered: bool = True
    foreign: tuple[Conversion, ...] = ()

    @property
    def octave(self) -> int:
        """The binary exponent of the range."""
        return math.frexp(self.maximum - self.minimum)[1]


def sensors(manifest: Manifest) -> tuple[Sensor, ...]:
    """Return what a manifest says of each channel; the ranges are rounded as records are."""
    grid = manifest.grid
    return tuple(
        Sensor(
            minimum=float(np.float32(channel.minimum)),
            maximum=float(np.float32(channel.maximum)),
            period=int(grid.period),
            gap=int(grid.max_gap),
            ordered=not channel.categories,
            foreign=other_units(channel.unit),
        )
        for channel in manifest.channels
    )
