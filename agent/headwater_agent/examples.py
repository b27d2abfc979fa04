"""Examples: numbered, kept apart by what they may be used for, held back or corrected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from headwater_agent.blocks import ReservedBlocks
from headwater_agent.events import Correction, Example, Floats, Held
from headwater_agent.labels import Entry
from headwater_agent.learner import Learner
from headwater_agent.predictions import Predictions
from headwater_models.manifest import Manifest


@dataclass(slots=True)
class Made:
    """What a batch made."""

    examples: list[Example] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)


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
        self._made = Made()

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
        made, sequence, stream, first, end = self._made, self.sequence, "", 0, 0
        sequences = []
        for name, time, marked, window, label in zip(
            predictions.streams,
            predictions.times.tolist(),
            predictions.marked,
            windows,
            np.array(labels, np.float32).tolist(),
            strict=True,
        ):
            if name != stream or not first <= time < end:
                stream = name
                first, end, use = self._blocks.stretch(stream, time)
                reserved = use == "judge"
            if use == "embargo":
                sequences.append(0)
            elif marked:
                sequences.append(0)
                made.held.append(Held(stream, time, label, reserved))
            else:
                sequence += 1
                sequences.append(sequence)
                made.examples.append(Example(sequence, stream, time, window, label, reserved))
        self.sequence = sequence
        return sequences

    def clear(self, examples: Iterable[Example]) -> None:
        """Keep examples that had been held back."""
        for example in examples:
            self.sequence += 1
            self._made.examples.append(replace(example, sequence=self.sequence))

    def correct(self, entry: Entry, label: float) -> None:
        """Replace the label of an example; where it was learned already, that is counted."""
        self.corrections += 1
        if not entry.sequence:
            if entry.prediction.marked:
                made = Predictions.of([entry.prediction])
                (entry.sequence,) = self.keep(made, entry.window[None], [label])
            return
        self._made.corrections.append(Correction(entry.sequence, label))
        examples = self._made.examples
        for i, example in enumerate(examples):
            if example.sequence == entry.sequence:
                examples[i] = replace(example, label=float(np.float32(label)))
                return
        self.late_corrections += not self._learner.correct(entry.sequence, label)

    def drain(self) -> Made:
        """Return what was made since the last call."""
        made, self._made = self._made, Made()
        return made
