"""Predictions that met their labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import msgspec
import numpy as np

from headwater_agent.events import Floats, Prediction
from headwater_agent.predictions import Predictions
from headwater_agent.stacking import span, stack


class Entry(msgspec.Struct, eq=False, gc=False):
    """A prediction with the window it was made on, and what came of it.

    ``label`` is None until it comes; ``sequence`` is that of the example that it became (0: none).
    """

    prediction: Prediction
    window: Floats
    label: float | None = None
    sequence: int = 0


class Labelled(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A label that came; ``before`` is the label that it corrects, None where it is the first."""

    entry: Entry
    label: float
    before: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """Predictions that met their first labels, in columns and in the order of the labels.

    ``windows`` is float32 ``[N, T, C]``; ``entries`` has what is held of each for a later label,
    None where nothing is.
    """

    predictions: Predictions
    windows: Floats
    labels: list[float]
    entries: list[Entry | None]


Found = list[Met | Labelled]
"""What met its label, in the order of the labels; what was corrected by itself."""


def gather(found: Iterable[Labelled]) -> Found:
    """Lay out in columns what met its first label, as far as no correction comes between."""
    gathered: Found = []
    for corrects, run in groupby(found, key=lambda item: item.before is not None):
        items = list(run)
        if corrects:
            gathered += items
            continue
        entries = [item.entry for item in items]
        predictions = Predictions.of([entry.prediction for entry in entries])
        windows = stack([entry.window for entry in entries])
        gathered.append(Met(predictions, windows, [item.label for item in items], [*entries]))
    return gathered


class Meeting:
    """Labels that rows bring: of predictions that were just made, and of what was held before.

    Attributes
    ----------
    places, labels
        Which predictions met their first label, and the labels, in the order of these: the places
        of those just made, below 0 of what was held.
    fresh
        What is held of those just made, by their places.
    """

    def __init__(self) -> None:
        self.places: list[int] = []
        self.labels: list[float] = []
        self.fresh: dict[int, Entry] = {}
        self._held: list[tuple[int, Entry]] = []
        self._corrections: list[tuple[int, Labelled]] = []

    def meet(self, entry: Entry, label: float) -> None:
        """Take a label, perhaps not the first, of what was held."""
        before, entry.label = entry.label, label
        if before is None:
            self._held.append((len(self.places), entry))
            self.places.append(-len(self._held))
            self.labels.append(label)
        elif label != before:
            self._corrections.append((len(self.places), Labelled(entry, label, before)))

    def known(self) -> dict[int, float]:
        """Return the labels of predictions just made, by their places."""
        known = dict(zip(self.places, self.labels, strict=True))
        for number in range(len(self._held)):
            del known[~number]
        return known

    def found(self, made: Predictions, windows: Floats) -> Found:
        """Return what met its label; the predictions just made, and their windows, are given."""
        entries = list(map(self.fresh.get, self.places))
        places = np.array(self.places, np.intp)
        if count := len(self._held):
            held = [entry for _, entry in self._held]
            waited = Predictions.of([entry.prediction for entry in held])
            theirs = stack([entry.window for entry in held])
            if count == len(places):
                made, windows = waited, theirs
            else:
                made, windows = Predictions.join([waited, made]), np.concatenate([theirs, windows])
            places = np.where(places < 0, ~places, places + count)
            for at, entry in self._held:
                entries[at] = entry
        found: Found = []
        start = 0
        for end, correction in [*self._corrections, (len(places), None)]:
            if start < end:
                own = span(places[start:end])
                labels = self.labels[start:end]
                found.append(Met(made.take(own), windows[own], labels, entries[start:end]))
            if correction is not None:
                found.append(correction)
            start = end
        return found
