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

    def keep(self, entries: Sequence[Entry], labels: Floats) -> None:
        """Make examples of predictions with their windows, or hold back while a cell is doubted.

        Each that becomes an example is told its sequence.

        Parameters
        ----------
        entries
            N of them, in the order of their labels.
        labels
            ``[N, 1]``.
        """
        made, sequence, stream, first, end = self._made, self.sequence, "", 0, 0
        for entry, label in zip(entries, labels, strict=True):
            prediction = entry.prediction
            time = prediction.time
            if prediction.stream != stream or not first <= time < end:
                stream = prediction.stream
                first, end, use = self._blocks.stretch(stream, time)
                reserved = use == "judge"
            if use == "embargo":
                continue
            if prediction.marked:
                made.held.append(Held(stream, time, label, reserved))
                continue
            sequence += 1
            entry.sequence = sequence
            made.examples.append(Example(sequence, stream, time, entry.window, label, reserved))
        self.sequence = sequence

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
                self.keep([entry], np.array([[label]], np.float32))
            return
        self._made.corrections.append(Correction(entry.sequence, label))
        examples = self._made.examples
        for i, example in enumerate(examples):
            if example.sequence == entry.sequence:
                examples[i] = replace(example, label=np.array([label], np.float32))
                return
        self.late_corrections += not self._learner.correct(entry.sequence, label)

    def drain(self) -> Made:
        """Return what was made since the last call."""
        made, self._made = self._made, Made()
        return made
