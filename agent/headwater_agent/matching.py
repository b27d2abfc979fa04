"""Labels meet predictions in the order in which they came, and make examples of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from headwater_agent.events import Floats, Label, Prediction, Refuse, Row
from headwater_agent.examples import Examples
from headwater_agent.intake import Intake
from headwater_agent.labels import Entry, Labelled, Labels
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
        self, batch: Intake, predictions: Sequence[Prediction]
    ) -> Generator[Refuse, None, list[Labelled]]:
        """Take the rows and labels of a batch as they came, and return what met its label.

        Where nothing is known of their order, what the rows leave behind is let go at the end; so
        it is where no label came, for then it makes no difference.
        """
        found: list[Labelled | None] = []
        at_once = bool(batch.labels) and not batch.patient
        cut = iter(zip(batch.joined.cut, predictions, strict=True)) if predictions else iter(())
        following = next(cut, None)
        observed = iter(self._labels.observed(batch.joined.rows))
        for item in batch.in_order():
            if isinstance(item, Label):
                found.append((yield from self._meet_label(item)))
                continue
            found.append(self._labels.meet(item, next(observed)))
            if following is not None and following[0].row is item:
                self._expect(following[1], following[0].window)
                following = next(cut, None)
            if at_once:
                self._labels.let_go(item)
        newest: dict[str, Row] = {row.stream: row for row in batch.joined.rows}
        for row in newest.values():
            self._labels.let_go(row)
        return [item for item in found if item is not None]

    def learn_from(self, found: Sequence[Labelled]) -> None:
        """Make examples of labelled predictions; an anomaly model has made them already."""
        values = np.array([[item.label] for item in found], np.float32)
        for item, label in zip(found, values, strict=True):
            entry = item.entry
            if not self._detects:
                entry.sequence = self._examples.keep(entry.prediction, entry.window, label)
            elif item.label and (entry.sequence or entry.prediction.marked):
                self._examples.correct(entry, item.label)

    def _meet_label(self, label: Label) -> Generator[Refuse, None, Labelled | None]:
        entry = self._labels.find(label)
        if entry is None or not has_meaning(self._manifest, label.value):
            yield Refuse("label", label.stream)
            return None
        return self._labels.take(entry, label.value)

    def _expect(self, prediction: Prediction, window: Floats) -> Entry:
        waits = self._labels.expect(prediction, window)
        if self._detects and not flags(prediction)[prediction.served == "personal"]:
            normal = np.zeros(1, np.float32)
            waits.sequence = self._examples.keep(prediction, window, normal)
        return waits
