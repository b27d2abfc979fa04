"""Labels meet predictions in the order in which they came, and make examples of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import starmap

import numpy as np

from headwater_agent.events import Label, Prediction, Refuse, Row
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

        Where nothing is known of the order of labels, what the rows leave behind is let go at the
        end.
        """
        rows, made = batch.joined.rows, self._made(batch, predictions)
        if not batch.labels:
            return self._labels.follow(rows, made)
        found: list[Labelled | None] = []
        waiting = iter(zip(batch.joined.cut, made, strict=True)) if made else iter(())
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
        return [item for item in found if item is not None]

    def learn_from(self, found: Sequence[Labelled]) -> None:
        """Make examples of labelled predictions; an anomaly model has made them already."""
        if not self._detects:
            labels = np.array([item.label for item in found], np.float32)[:, None]
            self._examples.keep([item.entry for item in found], labels)
            return
        for item in found:
            entry = item.entry
            if item.label and (entry.sequence or entry.prediction.marked):
                self._examples.correct(entry, item.label)

    def _meet_label(self, label: Label) -> Generator[Refuse, None, Labelled | None]:
        entry = self._labels.find(label)
        if entry is None or not has_meaning(self._manifest, label.value):
            yield Refuse("label", label.stream)
            return None
        return self._labels.take(entry, label.value)

    def _made(self, batch: Intake, predictions: Sequence[Prediction]) -> list[Entry]:
        """Return predictions with their windows; what an anomaly model calls normal it learns."""
        if not predictions:
            return []
        windows = [cut.window for cut in batch.joined.cut]
        made = list(starmap(Entry, zip(predictions, windows, strict=True)))
        if self._detects:
            normal = [
                entry
                for entry in made
                if not flags(entry.prediction)[entry.prediction.served == "personal"]
            ]
            self._examples.keep(normal, np.zeros((len(normal), 1), np.float32))
        return made
