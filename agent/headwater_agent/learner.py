"""Test, then train: the personal model takes a step for each full batch of examples."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec
import numpy as np

from headwater.errors import StorageError
from headwater_agent.events import Batch, Checkpoint, Example, Train, Trained, Version
from headwater_agent.scores import Score
from headwater_agent.sync import Personal
from headwater_models.arrays import Arrays

MAX_WAITING = 8_192
"""Most examples that may wait for training; beyond it the oldest are dropped and counted."""

LAYOUT = 1
"""Version of the checkpoint's fields."""

_Packed = dict[str, tuple[tuple[int, ...], bytes]]


class LearnerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the personal model learns: batch size, learning rate, or not at all."""

    enabled: bool = True
    batch: int = 16
    learning_rate: float = 1e-3


class _Saved(msgspec.Struct):
    """The learning state as a checkpoint holds it; the version number is of this layout."""

    layout: int
    version: str
    sequence: int
    learned_through: int
    dropped: int
    released: _Packed
    personal: _Packed
    anchor: _Packed
    state: _Packed
    taken: dict[int, _Packed]
    score: Score
    streams: dict[str, Score]


class Learner:
    """The released version, the personal model on top of it, and their scores.

    Batches are cut by the count of examples alone, so that learning after a restart repeats the
    steps of an undisturbed run.

    Parameters
    ----------
    version
        The release to start from.
    state
        Zeroed optimiser arrays.
    settings
        Batch size and learning rate.
    """

    def __init__(self, version: Version, state: Arrays, settings: LearnerSettings) -> None:
        self.version = version
        self.personal = Personal(version, state)
        self.score = Score()
        self.streams: dict[str, Score] = {}
        self.learned_through = 0
        self.dropped = 0
        self.changed = False
        self._settings = settings
        self._waiting: deque[Example] = deque()
        self._training = False

    def learn(self, examples: list[Example]) -> Iterator[Train]:
        """Take examples in the order of their sequence and ask for the step that is due."""
        if not self._settings.enabled:
            return
        self._waiting.extend(example for example in examples if not example.reserved)
        while len(self._waiting) > MAX_WAITING:
            self.learned_through = self._waiting.popleft().sequence
            self.dropped += 1
        yield from self._due()

    def trained(self, event: Trained) -> Iterator[Train]:
        """Take over what a step made and ask for the next one if it is due."""
        self._training = False
        self.personal.parameters = event.parameters
        self.personal.state = event.state
        self.learned_through = event.through
        self.changed = True
        yield from self._due()

    def release(self, version: Version, merged: int) -> None:
        """Move to a newer release."""
        self.personal.rebase(version, merged)
        self.version = version
        self.changed = True

    def checkpoint(self) -> Checkpoint:
        """Encode the learning state."""
        self.changed = False
        personal = self.personal
        saved = _Saved(
            layout=LAYOUT,
            version=self.version.name,
            sequence=self.version.sequence,
            learned_through=self.learned_through,
            dropped=self.dropped,
            released=_pack(self.version.weights),
            personal=_pack(personal.parameters),
            anchor=_pack(personal.anchor),
            state=_pack(personal.state),
            taken={sequence: _pack(arrays) for sequence, arrays in personal.taken.items()},
            score=self.score,
            streams=self.streams,
        )
        return Checkpoint(msgspec.msgpack.encode(saved), self.learned_through)

    def restore(self, state: bytes) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        StorageError
            When it is damaged, of a newer program, or of another model.
        """
        try:
            saved = msgspec.msgpack.decode(state, type=_Saved)
        except msgspec.DecodeError as error:
            raise StorageError(
                f"The checkpoint of the learning state is damaged: {error}."
            ) from error
        if saved.layout > LAYOUT:
            raise StorageError(
                f"The checkpoint has layout {saved.layout}, this program knows {LAYOUT}; "
                "update headwater."
            )
        shapes = {name: tuple(shape) for name, (shape, _) in saved.released.items()}
        if shapes != {name: array.shape for name, array in self.version.weights.items()}:
            raise StorageError(
                "The checkpoint is of another model; give this model a state folder of its own."
            )
        self.version = Version(saved.version, saved.sequence, _unpack(saved.released))
        self.personal = Personal(self.version, _unpack(saved.state))
        self.personal.parameters = _unpack(saved.personal)
        self.personal.anchor = _unpack(saved.anchor)
        self.personal.taken = {sequence: _unpack(p) for sequence, p in saved.taken.items()}
        self.learned_through, self.dropped = saved.learned_through, saved.dropped
        self.score, self.streams = saved.score, saved.streams

    def _due(self) -> Iterator[Train]:
        size = self._settings.batch
        if self._training or len(self._waiting) < size:
            return
        examples = [self._waiting.popleft() for _ in range(size)]
        self._training = True
        yield Train(
            batch=Batch(
                window=np.stack([example.window for example in examples]),
                time=np.array([example.time for example in examples], np.int64),
                label=np.stack([example.label for example in examples]),
                weight=np.ones(size, np.float32),
            ),
            parameters=self.personal.parameters,
            state=self.personal.state,
            learning_rate=self._settings.learning_rate,
            through=examples[-1].sequence,
        )


def _pack(arrays: Arrays) -> _Packed:
    return {name: (a.shape, np.ascontiguousarray(a).tobytes()) for name, a in arrays.items()}


def _unpack(packed: _Packed) -> Arrays:
    return {
        name: np.frombuffer(raw, np.float32).reshape(shape).copy()
        for name, (shape, raw) in packed.items()
    }
