"""Examples that wait to be learned, and the batches that they are cut into."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Batch, Example
from headwater_agent.kept import Kept

MAX_WAITING = 8_192
"""Most examples that wait to be learned."""

MAX_BYTES = 32 * 2**20
"""Most memory that their windows take, as far as it holds two batches."""


class Waiting:
    """A queue of examples, in the order of their sequence.

    Parameters
    ----------
    batch
        Examples of a batch.
    normal_alone
        Whether examples with another label than 0 have no weight.
    """

    def __init__(self, batch: int, *, normal_alone: bool = False) -> None:
        self._size = batch
        self._normal_alone = normal_alone
        self._pieces: deque[Kept] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def batches(self) -> int:
        """How many whole batches there are."""
        return self._count // self._size

    @property
    def overfull(self) -> bool:
        """Whether more wait than may."""
        if self._count <= 2 * self._size:
            return False
        size = sum([piece.windows.nbytes for piece in self._pieces])
        return self._count > MAX_WAITING or size > MAX_BYTES

    def add(self, examples: Sequence[Example]) -> None:
        """Take examples that come after all that wait."""
        if examples:
            self._pieces.append(Kept.of(examples))
            self._count += len(examples)

    def take(self, batches: int) -> tuple[Batch, int]:
        """Return so many of the first batches, laid out as one, and the last one's sequence."""
        taken = self._first(batches * self._size)
        weight = np.ones(len(taken), np.float32)
        if self._normal_alone:
            weight = (taken.labels == 0).astype(np.float32)
        batch = Batch(taken.windows, taken.times, taken.labels[:, None], weight)
        return batch, int(taken.sequences[-1])

    def thin(self) -> int:
        """Leave out every other one, and return how many those were."""
        before = self._count
        self._put(np.arange(before) % 2 == 1)
        return before - self._count

    def leave_out(self, stream: str) -> None:
        """Leave out those of a stream."""
        streams = [name for piece in self._pieces for name in piece.streams]
        self._put(np.array([name != stream for name in streams], np.bool_))

    def clear(self) -> None:
        """Leave out all."""
        self._pieces.clear()
        self._count = 0

    def correct(self, sequence: int, label: float) -> bool:
        """Correct the label of an example; False where it does not wait."""
        return any(piece.correct(sequence, label) for piece in self._pieces)

    def _put(self, stays: NDArray[np.bool_]) -> None:
        """Leave out those that do not stay."""
        kept = Kept.join(self._pieces).take(np.flatnonzero(stays))
        self.clear()
        self.add(kept)

    def _first(self, count: int) -> Kept:
        """Take so many out, at most as many as wait."""
        parts: list[Kept] = []
        self._count -= count
        while count:
            piece = self._pieces.popleft()
            if len(piece) > count:
                self._pieces.appendleft(piece[count:])
                piece = piece[:count]
            parts.append(piece)
            count -= len(piece)
        return Kept.join(parts)
