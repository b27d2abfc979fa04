"""What labels, and windows that nobody flagged, say about the models of a device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Happened, Prediction
from headwater_agent.labels import Labelled
from headwater_agent.learner import Learner
from headwater_agent.scores import Score
from headwater_agent.served import Change
from headwater_agent.standing import Encoded, encode_own, encode_stream, read_standing
from headwater_models.judging import errors
from headwater_models.manifest import Manifest

NAMES = ("baseline", "released", "personal")
"""The columns of a table of errors."""

Errors = NDArray[np.float64]


def errors_of(manifest: Manifest, found: Sequence[Labelled], labels: Sequence[float]) -> Errors:
    """Return ``[N, 3]``: the errors of baseline, released and personal, NaN where one said nothing.

    Parameters
    ----------
    found
        Predictions that met a label.
    labels
        The labels to hold them against, of the same length.
    """
    if not found:
        return np.zeros((0, 3))
    made = [item.entry.prediction for item in found]
    truth = np.array(labels, np.float32)[:, None]
    if manifest.task == "anomaly":
        flagged = np.array([[False, *flags(prediction)] for prediction in made])
        return np.asarray(flagged != (truth > 0), np.float64)
    said = np.array([(p.baseline, p.released, p.personal) for p in made], np.float32)
    of_each = errors(manifest, said.reshape(3 * len(made), -1), truth.repeat(3, axis=0))
    return of_each.reshape(-1, 3)


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

    def count(self, item: Labelled, now: Errors) -> Happened | None:
        """Count the errors ``[3]`` of a prediction whose label came."""
        prediction = item.entry.prediction
        baseline, released, personal = map(float, now)
        if np.isfinite(now).all():
            served = personal if prediction.served == "personal" else released
            for score in self._scores(prediction.stream):
                score.add(baseline=baseline, released=released, personal=personal, served=served)
        return self._judge(prediction, released, personal)

    def correct(self, item: Labelled, before: Errors, now: Errors) -> Happened | None:
        """Put the errors ``[3]`` under the corrected label in the place of those before."""
        prediction = item.entry.prediction
        if np.isfinite(now).all() and np.isfinite(before).all():
            change = dict(zip(NAMES, (now - before).tolist(), strict=True))
            change["served"] = change[item.entry.prediction.served]
            for score in self._scores(prediction.stream):
                if score.labels:
                    score.correct(**change)
        pairs = [(float(table[1]), float(table[2])) for table in (before, now)]
        served = self._learner.served
        return self._follow(
            served.corrected(before=pairs[0], after=pairs[1], served=prediction.served)
        )

    def unlabelled(self, prediction: Prediction) -> Happened | None:
        """Judge an anomaly model by a window without a label.

        On windows that neither model flags, the one nearer to its threshold has the larger loss;
        a window that only one of them flags speaks against the personal model, and one that both
        flag says nothing. Both kinds of window count alike however rare flags are, so a model
        that has merely learned to reconstruct everything is never promoted, and neither is any
        while nothing was ever flagged.
        """
        thresholds = prediction.thresholds
        if not all(map(math.isfinite, thresholds)):
            return None
        served, flagged = self._learner.served, flags(prediction)
        share = served.flagged / max(served.windows, 1)
        served.windows += 1
        served.flagged += any(flagged)
        if all(flagged):
            return None
        if any(flagged):
            return self._judge(prediction, 0.0, 1.0)
        released, personal = (
            share * float(score[0]) / max(threshold, 1e-12)
            for score, threshold in zip(
                (prediction.released, prediction.personal), thresholds, strict=True
            )
        )
        return self._judge(prediction, released, personal)

    def diverged(self) -> Happened:
        """Take the personal model back to the release: its predictions are not finite."""
        return self.reset("the personal model's predictions were not finite")

    def reset(self, why: str) -> Happened:
        """Take the personal model back to the release."""
        self._learner.reset()
        self._changed[""] = None
        return Happened("reset", why)

    def _scores(self, stream: str) -> Iterator[Score]:
        self._changed[""] = self._changed[stream] = None
        yield self._learner.score
        yield self._learner.streams.setdefault(stream, Score())

    def _judge(self, prediction: Prediction, released: float, personal: float) -> Happened | None:
        return self._follow(
            self._learner.served.scored(
                block=prediction.time // self._block,
                released=released,
                personal=personal,
                served=prediction.served,
            )
        )

    def _follow(self, change: Change | None) -> Happened | None:
        self._changed[""] = None
        if change is None:
            return None
        if change == "reset":
            self._learner.reset()
        score = self._learner.score
        return Happened(
            change,
            f"recent error {score.recent_personal:.4g} of the personal model against "
            f"{score.recent_released:.4g} of the release, over {score.labels} labels",
        )
