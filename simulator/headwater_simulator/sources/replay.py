"""Records of files, dealt to devices client by client, each on the grid from its first row on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater_models.manifest import Grid
from headwater_models.offline.grid import join
from headwater_models.offline.recordings import Recording, Wishes
from headwater_simulator.scenario.settings import Replay
from headwater_simulator.sources.files import read_files
from headwater_simulator.sources.source import Floats, Rows


@dataclass(frozen=True, slots=True, eq=False)
class _Client:
    """Rows that are there: their places ``[R]`` from 0 on, and what was measured and labelled.

    ``length`` is how many places there are, gaps among them.
    """

    places: NDArray[np.int64]
    values: Floats
    labels: Floats
    length: int


class ReplayedStreams:
    """The streams of a fleet, out of files.

    Parameters
    ----------
    settings
        The files, and what their columns are.
    window
        Rows of the model's window.

    Raises
    ------
    SettingsError
        Naming file, column and row of what cannot be read, or does not fit.
    StorageError
        When a file cannot be read.
    """

    def __init__(self, settings: Replay, *, window: int) -> None:
        reading = read_files(settings.files, _wishes(settings), _fields(settings, window))
        self.facts = reading.facts
        self.label_delay = settings.label_delay
        self._loop = settings.loop
        self._labelled = bool(settings.label)
        self._clients = [_client(found, self.facts.grid) for found in reading.recordings()]
        if settings.target:
            self._refuse_short(settings)

    def rows(self, device: int, first: int, count: int) -> Rows:
        """Return a stretch of a device: of its client, over and over or once."""
        client = self._clients[device % len(self._clients)]
        if not self._loop:
            count = max(0, min(first + count, client.length) - first)
        wanted = np.arange(first, first + count) % client.length
        place = np.minimum(np.searchsorted(client.places, wanted), len(client.places) - 1)
        there = client.places[place] == wanted
        values = np.where(there[:, None], client.values[place], np.float32(np.nan))
        if not self._labelled:
            return Rows(first, values)
        return Rows(first, values, np.where(there, client.labels[place], np.float32(np.nan)))

    def _refuse_short(self, settings: Replay) -> None:
        ahead = settings.horizon // settings.period
        longest = max(client.length for client in self._clients)
        if longest <= ahead:
            raise SettingsError(
                f"data.horizon: {settings.horizon} is {ahead} rows ahead, and no client has more "
                f"than {longest}; forecast less far, or give longer files."
            )


def _wishes(settings: Replay) -> Wishes:
    return Wishes(
        time=settings.time or None, stream=settings.client or None, label=settings.label or None
    )


def _fields(settings: Replay, window: int) -> dict[str, Any]:
    return {
        "target": settings.target or None,
        "horizon": str(settings.horizon) if settings.horizon else None,
        "channels": [{"name": name} for name in settings.channels] or None,
        "grid": {"period": str(settings.period)},
        "window": window,
    }


def _client(recording: Recording, grid: Grid) -> _Client:
    joined = join(recording, grid)
    came = joined.record >= 0
    slots = joined.slots[came]
    places = slots - slots[0]
    return _Client(
        places=places,
        values=joined.cells[came],
        labels=recording.labels[joined.record[came]],
        length=int(places[-1]) + 1,
    )
