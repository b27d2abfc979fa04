"""Examples: numbered, kept apart by what they may be used for, held back or corrected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headwater_agent.blocks import ReservedBlocks, Use
from headwater_agent.events import Correction, Example, Floats, Held
from headwater_agent.kept import Kept
from headwater_agent.learner import Learner
from headwater_agent.met import Entry
from headwater_agent.predictions import Predictions
from headwater_models.manifest import Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What a batch made."""

    examples: Kept
    held: list[Held]
    corrections: list[Correction]


_USES: dict[Use, int] = {"learn": 0, "judge": 1, "embargo": 2}
_JUDGE, _EMBARGO = _USES["judge"], _USES["embargo"]


class Examples:
    """Make examples of windows and labels.

    Parameters
    ----------
    manifest
        Which blocks are reserved.
    learner
        Holds the examples that wait to be learned.

    Attributes
    ----------
    sequence
        Of the newest example.
    corrections, late_corrections
        Labels that were corrected, and those of them whose example had been learned.
    """

    def __init__(self, manifest: Manifest, learner: Learner) -> None:
        self.sequence = 0
        self.corrections = 0
        self.late_corrections = 0
        self._blocks = ReservedBlocks(manifest)
        self._learner = learner
        self._kept: list[Kept] = []
        self._held: list[Held] = []
        self._corrections: list[Correction] = []

    def keep(self, predictions: Predictions, windows: Floats, labels: Sequence[float]) -> list[int]:
        """Make examples of labelled predictions, or hold back while a cell is doubted.

        Returns the sequence of each that became an example, 0 of the others.

        Parameters
        ----------
        predictions
            N of them, in the order of their labels.
        windows
            Float32 ``[N, T, C]``.
        labels
            N of them.
        """
        uses, known = self._uses(predictions), np.array(labels, np.float32)
        marked, reserved = np.array(predictions.marked, np.bool_), uses == _JUDGE
        usable = uses != _EMBARGO
        whole = usable & ~marked
        sequences = np.where(whole, whole.cumsum() + self.sequence, 0)
        made = Kept(sequences, predictions.streams, predictions.times, windows, known, reserved)
        if not whole.all():
            made = made.take(np.flatnonzero(whole))
        self.sequence += len(made)
        self._kept.append(made)
        for place in np.flatnonzero(usable & marked).tolist():
            one = predictions[place]
            label, is_reserved = float(known[place]), bool(reserved[place])
            self._held.append(Held(one.stream, one.time, label, is_reserved))
        listed: list[int] = sequences.tolist()
        return listed

    def _uses(self, predictions: Predictions) -> NDArray[np.int8]:
        """Say of each what it may be used for."""
        known, first, end, uses = "", 0, 0, []
        for stream, time in zip(predictions.streams, predictions.times.tolist(), strict=True):
            if stream != known or not first <= time < end:
                known = stream
                first, end, name = self._blocks.stretch(stream, time)
                use = _USES[name]
            uses.append(use)
        return np.array(uses, np.int8)

    def clear(self, examples: Iterable[Example]) -> None:
        """Keep examples that had been held back."""
        for example in examples:
            self.sequence += 1
            self._kept.append(Kept.of([replace(example, sequence=self.sequence)]))

    def correct(self, entry: Entry, label: float) -> None:
        """Replace the label of an example; where it was learned already, that is counted."""
        self.corrections += 1
        if not entry.sequence:
            if entry.prediction.marked:
                made = Predictions.of([entry.prediction])
                (entry.sequence,) = self.keep(made, entry.window[None], [label])
            return
        self._corrections.append(Correction(entry.sequence, label))
        if not any(piece.correct(entry.sequence, label) for piece in self._kept):
            self.late_corrections += not self._learner.correct(entry.sequence, label)

    def drain(self) -> Made:
        """Return what was made since the last call."""
        made = Made(Kept.join(self._kept), self._held, self._corrections)
        self._kept, self._held, self._corrections = [], [], []
        return made
