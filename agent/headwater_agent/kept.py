"""Many examples in columns, as they are made, stored and learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import overload

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Example, Floats
from headwater_agent.stacking import Places, stack


@dataclass(slots=True, eq=False)
class Kept(Sequence[Example]):
    """Examples in columns of N each; see :class:`.events.Example` for what they mean.

    ``windows`` is float32 ``[N, T, C]``. Read one by one, each example is made anew.
    """

    sequences: NDArray[np.int64]
    streams: Sequence[str]
    times: NDArray[np.int64]
    windows: Floats
    labels: Floats
    reserved: NDArray[np.bool_]

    @classmethod
    def of(cls, made: Sequence[Example]) -> Kept:
        """Return examples in columns; as they are where they are that already."""
        if isinstance(made, cls):
            return made
        return cls(
            np.array([one.sequence for one in made], np.int64),
            [one.stream for one in made],
            np.array([one.time for one in made], np.int64),
            stack([one.window for one in made]) if made else _NO_WINDOWS,
            np.array([one.label for one in made], np.float32),
            np.array([one.reserved for one in made], np.bool_),
        )

    @classmethod
    def join(cls, pieces: Sequence[Sequence[Example]]) -> Kept:
        """Return examples one after the other; the only piece as it is."""
        parts = [cls.of(piece) for piece in pieces if piece]
        if len(parts) < 2:
            return parts[0] if parts else cls.of(())
        return cls(
            np.concatenate([part.sequences for part in parts]),
            list(chain.from_iterable([part.streams for part in parts])),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.windows for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.reserved for part in parts]),
        )

    def take(self, places: slice | Places) -> Kept:
        """Return those at some places, in the order given."""
        streams = self.streams
        return Kept(
            self.sequences[places],
            streams[places] if isinstance(places, slice) else [streams[i] for i in places.tolist()],
            self.times[places],
            self.windows[places],
            self.labels[places],
            self.reserved[places],
        )

    def without_windows(self) -> Kept:
        """Return the same examples with windows that take no room."""
        return replace(self, windows=np.zeros((len(self), 0, 0), np.float32))

    def correct(self, sequence: int, label: float) -> bool:
        """Correct the label of an example; False where it is not among these."""
        places = np.flatnonzero(self.sequences == sequence)
        if len(places):
            self.labels = self.labels.copy()
            self.labels[places] = label
        return len(places) > 0

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[Example]:
        return map(
            Example,
            self.sequences.tolist(),
            self.streams,
            self.times.tolist(),
            self.windows,
            self.labels.tolist(),
            self.reserved.tolist(),
        )

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> Kept: ...
    def __getitem__(self, place: int | slice) -> Example | Kept:
        """Return one of them, or some in columns."""
        if isinstance(place, slice):
            return self.take(place)
        return Example(
            int(self.sequences[place]),
            self.streams[place],
            int(self.times[place]),
            self.windows[place],
            float(self.labels[place]),
            bool(self.reserved[place]),
        )


_NO_WINDOWS: Floats = np.zeros((0, 0, 0), np.float32)
