"""Labels meet predictions in the order in which they came, and make examples of them."""

from __future__ import annotations

from collections.abc import Generator
from itertools import repeat

import numpy as np

from headwater_agent.events import Floats, Label, Refuse, Row
from headwater_agent.examples import Examples
from headwater_agent.intake import Intake
from headwater_agent.labels import Labels
from headwater_agent.met import Entry, Found, Labelled, Met, gather
from headwater_agent.predictions import Predictions
from headwater_agent.scorer import flags
from headwater_models.judging import has_meaning
from headwater_models.manifest import Manifest


class Matching:
    """Let what came be the label of what waited.

    Parameters
    ----------
    manifest
        The task decides what a label is, and whether one is needed.
    labels
        Hold the predictions that wait.
    examples
        Take what is to be learned.
    """

    def __init__(self, manifest: Manifest, labels: Labels, examples: Examples) -> None:
        self._manifest = manifest
        self._detects = manifest.task == "anomaly"
        self._labels = labels
        self._examples = examples

    def match(
        self, batch: Intake, predictions: Predictions, windows: Floats
    ) -> Generator[Refuse, None, Found]:
        """Take the rows and labels of a batch as they came, and return what met its label.

        Where nothing is known of the order of labels, what the rows leave behind is let go at the
        end.

        Parameters
        ----------
        batch
            What came.
        predictions, windows
            What was predicted of it, and of which windows, float32 ``[N, T, C]``.
        """
        rows, cut = batch.joined.rows, batch.joined.cut
        sequences = self._learn_normal(predictions, windows) if self._detects else ()
        if not batch.labels:
            return self._labels.follow(
                rows, predictions, windows, lambda place: cut[place].window, sequences
            )
        found: list[Labelled | None] = []
        views = [one.window for one in cut]
        made = map(Entry, predictions, views, repeat(None), sequences or repeat(0))
        waiting = zip(cut, made, strict=False)
        following = next(waiting, None)
        observed = iter(self._labels.observed(rows))
        for item in batch.in_order():
            if isinstance(item, Label):
                found.append((yield from self._meet_label(item)))
                continue
            found.append(self._labels.meet(item, next(observed)))
            if (
                following is not None
                and following[0].row.stream == item.stream
                and following[0].row.slot == item.slot
            ):
                self._labels.expect(following[1])
                following = next(waiting, None)
            if not batch.patient:
                self._labels.let_go(item)
        newest: dict[str, Row] = {row.stream: row for row in rows}
        for row in newest.values():
            self._labels.let_go(row)
        return gather(item for item in found if item is not None)

    def learn_from(self, met: Met) -> None:
        """Make examples of labelled predictions; an anomaly model has made them already."""
        if not self._detects:
            made = self._examples.keep(met.predictions, met.windows, met.labels)
            for entry, sequence in zip(met.entries, made, strict=True):
                if entry is not None:
                    entry.sequence = sequence
            return
        for entry, label in zip(met.entries, met.labels, strict=True):
            if label and entry is not None and (entry.sequence or entry.prediction.marked):
                self._examples.correct(entry, label)

    def _meet_label(self, label: Label) -> Generator[Refuse, None, Labelled | None]:
        entry = self._labels.find(label)
        if entry is None or not has_meaning(self._manifest, label.value):
            yield Refuse("label", label.stream)
            return None
        return self._labels.take(entry, label.value)

    def _learn_normal(self, made: Predictions, windows: Floats) -> list[int]:
        """Make examples of what the served model calls normal; return the sequence of each."""
        normal = np.flatnonzero([not flags(one)[one.served == "personal"] for one in made])
        sequences = [0] * len(made)
        kept = self._examples.keep(made.take(normal), windows[normal], [0.0] * len(normal))
        for place, sequence in zip(normal.tolist(), kept, strict=True):
            sequences[place] = sequence
        return sequences
