"""Many predictions in columns, as they are made, published, labelled and stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Floats, Model, Prediction
from headwater_agent.stacking import Places, stack

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class Predictions(Sequence[Prediction]):
    """Predictions in columns of N each; see :class:`.events.Prediction` for what they mean.

    ``said`` is float32 ``[N, 3, K]``; ``beside`` ``[N, M, K]``, NaN where no further model was
    asked, None where that is everywhere. Read one by one, each prediction is made anew.
    """

    ids: Sequence[str]
    streams: Sequence[str]
    times: NDArray[np.int64]
    versions: Sequence[str]
    said: Floats
    qualities: Sequence[Literal["ok", "degraded"]]
    received: Sequence[int]
    served: Sequence[Model]
    thresholds: Sequence[tuple[float, float]]
    marked: Sequence[bool]
    beside: Floats | None = None

    @classmethod
    def of(cls, made: Sequence[Prediction]) -> Predictions:
        """Return predictions in columns; as they are where they are that already."""
        if isinstance(made, cls):
            return made
        if not made:
            return cls((), (), np.zeros(0, np.int64), (), _NOTHING, (), (), (), (), ())
        return cls(
            [one.id for one in made],
            [one.stream for one in made],
            np.array([one.time for one in made], np.int64),
            [one.version for one in made],
            stack([one.said for one in made]),
            [one.quality for one in made],
            [one.received for one in made],
            [one.served for one in made],
            [one.thresholds for one in made],
            [one.marked for one in made],
            _beside(
                [None if one.beside is None else one.beside[None] for one in made],
                [1] * len(made),
            ),
        )

    @classmethod
    def join(cls, pieces: Sequence[Sequence[Prediction]]) -> Predictions:
        """Return predictions one after the other; the only piece as it is."""
        parts = [cls.of(piece) for piece in pieces if piece]
        if len(parts) < 2:
            return parts[0] if parts else cls.of(())
        return cls(
            _chain([part.ids for part in parts]),
            _chain([part.streams for part in parts]),
            np.concatenate([part.times for part in parts]),
            _chain([part.versions for part in parts]),
            np.concatenate([part.said for part in parts]),
            _chain([part.qualities for part in parts]),
            _chain([part.received for part in parts]),
            _chain([part.served for part in parts]),
            _chain([part.thresholds for part in parts]),
            _chain([part.marked for part in parts]),
            _beside([part.beside for part in parts], [len(part) for part in parts]),
        )

    def take(self, places: slice | Places) -> Predictions:
        """Return those at some places, in the order given."""
        if isinstance(places, slice):
            return self._each(lambda column: column[places])
        listed = places.tolist()
        return self._each(
            lambda column: (
                column[places]
                if isinstance(column, np.ndarray)
                else [column[place] for place in listed]
            )
        )

    @property
    def personal(self) -> NDArray[np.bool_]:
        """Of which of them the personal model is served."""
        first = self.served[0] if self.served else ""
        if self.served.count(first) == len(self):
            return np.full(len(self), first == "personal")
        return np.array([served == "personal" for served in self.served], np.bool_)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Prediction]:
        beside: Iterable[Floats | None]
        beside = repeat(None) if self.beside is None else self.beside
        return map(
            Prediction,
            self.ids,
            self.streams,
            self.times.tolist(),
            self.versions,
            self.said,
            self.qualities,
            self.received,
            self.served,
            self.thresholds,
            self.marked,
            beside,
        )

    @overload
    def __getitem__(self, place: int) -> Prediction: ...
    @overload
    def __getitem__(self, place: slice) -> Predictions: ...
    def __getitem__(self, place: int | slice) -> Prediction | Predictions:
        """Return one of them, or some in columns."""
        if isinstance(place, slice):
            return self.take(place)
        return Prediction(
            self.ids[place],
            self.streams[place],
            int(self.times[place]),
            self.versions[place],
            self.said[place],
            self.qualities[place],
            self.received[place],
            self.served[place],
            self.thresholds[place],
            self.marked[place],
            None if self.beside is None else self.beside[place],
        )

    def _each(self, made: Callable[[Any], Any]) -> Predictions:
        """Return what is made of each column."""
        return Predictions(
            made(self.ids),
            made(self.streams),
            made(self.times),
            made(self.versions),
            made(self.said),
            made(self.qualities),
            made(self.received),
            made(self.served),
            made(self.thresholds),
            made(self.marked),
            None if self.beside is None else made(self.beside),
        )


_NOTHING: Floats = np.zeros((0, 3, 1), np.float32)


def _chain(columns: Iterable[Sequence[_T]]) -> list[_T]:
    return list(chain.from_iterable(columns))


def _beside(parts: Sequence[Floats | None], counts: Sequence[int]) -> Floats | None:
    """Return what further models said of parts of so many predictions, one after the other."""
    shape = next((part.shape[1:] for part in parts if part is not None), None)
    if shape is None:
        return None
    return np.concatenate(
        [
            np.full((count, *shape), np.nan, np.float32) if part is None else part
            for part, count in zip(parts, counts, strict=True)
        ]
    )
