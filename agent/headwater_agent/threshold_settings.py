"""When a window counts as an anomaly: ``[anomaly]``."""

from __future__ import annotations

from typing import Annotated

import msgspec

Span = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class ThresholdSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a window counts as an anomaly.

    Parameters
    ----------
    risk
        Share of normal windows that may be called anomalies.
    tail
        Share of the highest scores by which it is judged how much higher they can go.
    smoothing
        Span, in windows, of the exponentially weighted mean of the scores that is judged (1: each
        score stands for itself).
    warm_up
        Scores that are only learned from.
    memory
        Scores after which an old one counts for 1/e of a new one.
    patience
        Anomalies in a row after which scores are learned from again: a change that lasts is the
        new normal.
    """

    risk: Share = 0.001
    tail: Share = 0.1
    smoothing: Span = 10
    warm_up: Span = 100
    memory: Span = 10_000
    patience: Span = 1_000
