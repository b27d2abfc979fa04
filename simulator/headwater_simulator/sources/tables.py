"""Labelled rows of files, dealt out to the devices of a fleet at once."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from headwater_models.offline.recordings import Wishes
from headwater_simulator.scenario.settings import Table
from headwater_simulator.sources.files import read_files
from headwater_simulator.sources.holding import GRID, RESERVE, hold, kept_back
from headwater_simulator.sources.partition import Labelled, deal
from headwater_simulator.sources.source import Holding


class DealtTables:
    """The rows of each device.

    Parameters
    ----------
    settings
        The files, and how their rows are dealt out.
    devices
        How many there are.
    seed
        Of what is drawn.

    Raises
    ------
    SettingsError
        Naming file, column and row of what cannot be read, or saying why rows cannot be dealt so.
    StorageError
        When a file cannot be read.
    """

    def __init__(self, settings: Table, *, devices: int, seed: int) -> None:
        wishes = Wishes(label=settings.label, stream=settings.client or None)
        reading = read_files(settings.files, wishes, _fields(settings))
        self.facts = msgspec.structs.replace(reading.facts, grid=GRID, reserve=RESERVE)
        recordings = reading.recordings()
        labels = np.concatenate([found.labels for found in recordings])
        clients = np.repeat(np.arange(len(recordings)), [len(r.labels) for r in recordings])
        known = np.flatnonzero(~np.isnan(labels))
        self._values = np.concatenate([found.values for found in recordings])[known]
        self._labels = labels[known]
        classes = len(self.facts.classes)
        codes = self._labels.astype(np.intp) if classes else np.zeros(len(known), np.intp)
        rng = np.random.default_rng(seed)
        self._dealt = deal(Labelled(codes, clients[known], classes), devices, settings, rng)
        self._seed, self._held = seed, settings.held

    def count(self, device: int) -> int:
        """Return how many rows a device learns from."""
        rows = len(self._dealt[device])
        return rows - kept_back(rows, self._held)

    def holding(self, device: int) -> Holding:
        """Return what a device holds; the same each time."""
        rows = self._dealt[device]
        rng = np.random.default_rng((self._seed, device))
        return hold(self._values[rows], self._labels[rows], self._held, rng)


def _fields(settings: Table) -> dict[str, Any]:
    return {
        "channels": [{"name": name} for name in settings.channels] or None,
        "grid": {"period": str(GRID.period)},
        "window": 1,
    }
