"""Examples that wait to be learned, and the batches that they are cut into."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

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
        self._laid_out: deque[Batch] = deque()
        """Of the first examples, as far as they were laid out together and are as they were."""

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def batches(self) -> int:
        """How many whole batches there are."""
        return len(self._examples) // self._size

    def add(self, examples: Iterable[Example]) -> None:
        """Take examples that come after all that wait."""
        self._examples.extend(examples)

    def take(self, soon: int) -> tuple[Batch, int]:
        """Return the first batch, and the sequence of its last example.

        Parameters
        ----------
        soon
            How many are likely to be taken now, this one too: laid out together they take less.
        """
        if not self._laid_out:
            self._lay_out(min(soon, self.batches))
        taken = [self._examples.popleft() for _ in range(self._size)]
        return self._laid_out.popleft(), taken[-1].sequence

    def thin(self) -> int:
        """Leave out every other one, and return how many those were."""
        kept = list(self._examples)[1::2]
        left_out = len(self._examples) - len(kept)
        self._put(kept)
        return left_out

    def leave_out(self, stream: str) -> None:
        """Leave out those of a stream."""
        self._put(example for example in self._examples if example.stream != stream)

    def clear(self) -> None:
        """Leave out all."""
        self._put(())

    def correct(self, sequence: int, label: float) -> bool:
        """Correct the label of an example; False where it does not wait."""
        for i, example in enumerate(self._examples):
            if example.sequence == sequence:
                self._examples[i] = replace(example, label=float(np.float32(label)))
                self._laid_out.clear()
                return True
        return False

    def _put(self, examples: Iterable[Example]) -> None:
        self._examples = deque(examples)
        self._laid_out.clear()

    def _lay_out(self, batches: int) -> None:
        examples = list(islice(self._examples, batches * self._size))
        window = stack([example.window for example in examples])
        time = np.array([example.time for example in examples], np.int64)
        label = np.array([example.label for example in examples], np.float32)[:, None]
        weight = np.ones(len(examples), np.float32)
        if self._normal_alone:
            weight = (label[:, 0] == 0).astype(np.float32)
        for start in range(0, len(examples), self._size):
            own = slice(start, start + self._size)
            self._laid_out.append(Batch(window[own], time[own], label[own], weight[own]))
