"""Examples that wait to be learned, and the batches that they are cut into."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from msgspec.structs import replace

from headwater_agent.events import Batch, Example
from headwater_agent.stacking import stack


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
        self._examples: deque[Example] = deque()

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def batches(self) -> int:
        """How many whole batches there are."""
        return len(self._examples) // self._size

    def add(self, examples: Iterable[Example]) -> None:
        """Take examples that come after all that wait."""
        self._examples.extend(examples)

    def take(self, batches: int) -> tuple[Batch, int]:
        """Return so many of the first batches, laid out as one, and the last one's sequence."""
        examples = [self._examples.popleft() for _ in range(batches * self._size)]
        label = stack([example.label for example in examples])
        weight = np.ones(len(examples), np.float32)
        if self._normal_alone:
            weight = (label[:, 0] == 0).astype(np.float32)
        window = stack([example.window for example in examples])
        time = np.array([example.time for example in examples], np.int64)
        return Batch(window, time, label, weight), examples[-1].sequence

    def thin(self) -> int:
        """Leave out every other one, and return how many those were."""
        kept = list(self._examples)[1::2]
        left_out = len(self._examples) - len(kept)
        self._examples = deque(kept)
        return left_out

    def leave_out(self, stream: str) -> None:
        """Leave out those of a stream."""
        self._examples = deque(e for e in self._examples if e.stream != stream)

    def clear(self) -> None:
        """Leave out all."""
        self._examples.clear()

    def correct(self, sequence: int, label: float) -> bool:
        """Correct the label of an example; False where it does not wait."""
        for i, example in enumerate(self._examples):
            if example.sequence == sequence:
                self._examples[i] = replace(example, label=np.array([label], np.float32))
                return True
        return False
