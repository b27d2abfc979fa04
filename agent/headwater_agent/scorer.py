"""What labels, and windows that nobody flagged, say about the models of a device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headwater_agent.events import Happened, Prediction
from headwater_agent.learner import Learner
from headwater_agent.met import Labelled
from headwater_agent.predictions import Predictions
from headwater_agent.scores import Loss, Score
from headwater_agent.served import Change, Losses
from headwater_agent.standing import Encoded, encode_own, encode_stream, read_standing
from headwater_models.judging import errors
from headwater_models.manifest import Manifest

NAMES = ("baseline", "released", "personal")
"""The columns of a table of errors."""

Errors = NDArray[np.float64]

_COLUMNS = (2, 0, 1)
"""Where they stand among the outputs that are stacked."""


def errors_of(manifest: Manifest, made: Predictions, labels: Sequence[float]) -> Errors:
    """Return ``[N, 3]``: the errors of baseline, released and personal, NaN where one said nothing.

    Parameters
    ----------
    made
        Predictions that met a label.
    labels
        The labels to hold them against, of the same length.
    """
    if not made:
        return np.zeros((0, 3))
    truth = np.array(labels, np.float32)
    if manifest.task == "anomaly":
        flagged = np.array([[False, *flags(prediction)] for prediction in made])
        return np.asarray(flagged != (truth[:, None] > 0), np.float64)
    said = made.said.reshape(3 * len(made), -1)
    return errors(manifest, said, truth.repeat(3)[:, None]).reshape(-1, 3)[:, _COLUMNS]


def served_of(table: Errors, made: Predictions) -> Errors:
    """Return of a table of errors ``[N, 3]`` those of what was published, ``[N]``."""
    _, released, personal = table.T
    served: Errors = np.where(made.personal, personal, released)
    return served


def flags(prediction: Prediction) -> tuple[bool, bool]:
    """Say whether released and personal call the window an anomaly."""
    released, personal = prediction.thresholds
    return float(prediction.released[0]) >= released, float(prediction.personal[0]) >= personal


class Scorer:
    """Keep scores, account and evidence of one device, and carry out what follows from them.

    Parameters
    ----------
    learner
        Whose scores and account they are.
    block
        Length of a block of evidence in milliseconds: as long as labels take to come.
    """

    def __init__(self, learner: Learner, block: int) -> None:
        self._learner = learner
        self._block = block
        self._changed: dict[str, None] = {}

    def restore(self, encoded: Iterable[Encoded]) -> None:
        """Go on from what :meth:`changes` gave, the newest of each name.

        It is stored with the labels that it comes from, so it knows more than a checkpoint.
        """
        stored, learner = read_standing(encoded), self._learner
        if stored.served is not None and stored.score is not None:
            learner.served.resume(stored.served)
            learner.score = stored.score
        learner.streams.update(stored.streams)

    def changes(self) -> tuple[Encoded, ...]:
        """Encode account, evidence and scores where they changed since the last call."""
        changed, self._changed = self._changed, {}
        learner = self._learner
        return tuple(
            encode_stream(name, learner.streams[name])
            if name
            else encode_own(learner.served, learner.score)
            for name in changed
        )

    def count(self, made: Predictions, now: Errors) -> Iterator[Happened]:
        """Count the errors ``[N, 3]`` of predictions whose label came, in the order of labels."""
        if not made:
            return
        personal = made.personal
        self._add(made.streams, _with_served(now, personal))
        blocks = made.times // self._block
        yield from self._judge(Losses(blocks, now[:, 1], now[:, 2], personal))

    def correct(self, item: Labelled, before: Errors, now: Errors) -> Iterator[Happened]:
        """Put the errors ``[3]`` under the corrected label in the place of those before."""
        prediction = item.entry.prediction
        if np.isfinite(now).all() and np.isfinite(before).all():
            served_personal = np.array([prediction.served == "personal"])
            change = _with_served((now - before)[None], served_personal)[0]
            self._changed[""] = self._changed[prediction.stream] = None
            of_stream = self._learner.streams.setdefault(prediction.stream, Score())
            for score in (self._learner.score, of_stream):
                if score.labels:
                    score.correct(change.tolist())
        pairs = [(float(table[1]), float(table[2])) for table in (before, now)]
        served = self._learner.served
        yield from self._follow(
            served.corrected(before=pairs[0], after=pairs[1], served=prediction.served)
        )

    def unlabelled(self, prediction: Prediction) -> Iterator[Happened]:
        """Judge an anomaly model by a window without a label.

        On windows that neither model flags, the one nearer to its threshold has the larger loss;
        a window that only one of them flags speaks against the personal model, and one that both
        flag says nothing. Both kinds of window count alike however rare flags are, so a model
        that has merely learned to reconstruct everything is never promoted, and neither is any
        while nothing was ever flagged.
        """
        thresholds = prediction.thresholds
        if not all(map(math.isfinite, thresholds)):
            return
        served, flagged = self._learner.served, flags(prediction)
        share = served.flagged / max(served.windows, 1)
        served.windows += 1
        served.flagged += any(flagged)
        if all(flagged):
            return
        released, personal = (
            (0.0, 1.0)
            if any(flagged)
            else (
                share * float(score[0]) / max(threshold, 1e-12)
                for score, threshold in zip(
                    (prediction.released, prediction.personal), thresholds, strict=True
                )
            )
        )
        yield from self._judge(
            Losses(
                np.array([prediction.time // self._block]),
                np.array([released]),
                np.array([personal]),
                np.array([prediction.served == "personal"]),
            )
        )

    def diverged(self) -> Happened:
        """Take the personal model back to the release: its predictions are not finite."""
        return self.reset("the personal model's predictions were not finite")

    def reset(self, why: str) -> Happened:
        """Take the personal model back to the release."""
        self._learner.reset()
        self._changed[""] = None
        return Happened("reset", why)

    def _add(self, streams: Sequence[str], losses: Errors) -> None:
        """Add the losses ``[N, 4]`` of predictions to the scores, where all are known.

        Of a device with a single stream both scores are the same.
        """
        learner = self._learner
        known: NDArray[np.bool_] = np.asarray(np.isfinite(losses).all(axis=1))
        if not known.all():
            losses, streams = losses[known], list(compress(streams, known.tolist()))
        rows: list[Loss] = list(zip(*losses.T.tolist(), strict=True))
        for stream, own in _by_stream(streams, rows).items():
            self._changed[""] = self._changed[stream] = None
            score = learner.streams.setdefault(stream, Score())
            alone = score == learner.score and len(own) == len(rows)
            score.add(own)
            if alone:
                learner.score = replace(score)
                return
        learner.score.add(rows)

    def _judge(self, losses: Losses) -> Iterator[Happened]:
        self._changed[""] = None
        for _, change in self._learner.served.scored(losses):
            yield from self._follow(change)

    def _follow(self, change: Change | None) -> Iterator[Happened]:
        self._changed[""] = None
        if change is None:
            return
        if change == "reset":
            self._learner.reset()
        score = self._learner.score
        yield Happened(
            change,
            f"recent error {score.recent_personal:.4g} of the personal model against "
            f"{score.recent_released:.4g} of the release, over {score.labels} labels",
        )


def _with_served(table: Errors, personal: NDArray[np.bool_]) -> Errors:
    """Return ``[N, 4]``: a table of errors, and beside it that of what was published."""
    served = np.where(personal, table[:, 2], table[:, 1])
    return np.concatenate([table, served[:, None]], axis=1)


def _by_stream(names: Sequence[str], losses: Sequence[Loss]) -> dict[str, Sequence[Loss]]:
    """Return the losses of each stream, in order."""
    if len(set(names)) == 1:
        return {names[0]: losses}
    found: dict[str, list[Loss]] = {}
    for name, row in zip(names, losses, strict=True):
        found.setdefault(name, []).append(row)
    return {**found}
