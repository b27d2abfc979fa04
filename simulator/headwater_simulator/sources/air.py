"""The four stations in Beijing that lie in the package, for as many devices as there are."""

from __future__ import annotations

from functools import cache

import numpy as np

from headwater.settings import Duration
from headwater_simulator.air import specification
from headwater_simulator.scenario.settings import Air
from headwater_simulator.sources.source import Facts, Rows, reserve
from headwater_simulator.streams import Station, shipped

WEEK = 7 * 24
"""Hours; stations are cut into weeks, so that devices keep the hour and the day of the week."""

STRIDE = 129
"""Weeks between two devices at one station: the golden section of four years, and coprime to them,
so that each has a beginning of its own as long as there are any."""


class AirStreams:
    """Hourly records of the stations; a device that comes to the end goes on at the beginning.

    Parameters
    ----------
    settings
        How far ahead PM2.5 is forecast.
    window
        Rows of the model's window.
    """

    def __init__(self, settings: Air, *, window: int) -> None:
        self._stations = _stations()
        spec = specification(self._stations)
        self.label_delay = Duration(0)
        self.facts = Facts(
            task=spec.task,
            channels=spec.channels,
            grid=spec.grid,
            reserve=reserve(spec.grid.period, window, settings.horizon),
            loss=spec.loss,
            target=spec.target,
            horizon=settings.horizon,
            scaling=spec.scaling,
        )

    def rows(self, device: int, first: int, count: int) -> Rows:
        """Return a stretch of a device; its stream has no end."""
        turn, station = divmod(device, len(self._stations))
        values = self._stations[station].values
        hours = np.arange(first, first + count) + beginning(turn, len(values))
        return Rows(first, values[hours % len(values)])


def beginning(turn: int, hours: int) -> int:
    """Return the hour at which one of the devices at a station begins.

    Parameters
    ----------
    turn
        Its number among them.
    hours
        That the station has.
    """
    weeks = hours // WEEK
    return turn * STRIDE % weeks * WEEK + turn // weeks % 7 * 24


@cache
def _stations() -> tuple[Station, ...]:
    return shipped()
