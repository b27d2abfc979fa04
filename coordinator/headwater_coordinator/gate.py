"""The gate: a candidate is released when the fleet's own reserved rows do not speak against it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from headwater import wire
from headwater_coordinator.settings import Gate


@dataclass(frozen=True, slots=True)
class Paired:
    """Paired loss differences (candidate - release) pooled over rows and devices.

    ``mean`` and ``m2`` (sum of squared deviations from the mean) are over ``rows``; losses are
    means over the same rows.
    """

    devices: int = 0
    rows: int = 0
    mean: float = 0.0
    m2: float = 0.0
    candidate: float = 0.0
    release: float = 0.0
    baseline: float = 0.0

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; infinite with fewer than two rows."""
        if self.rows < 2:
            return math.inf
        return math.sqrt(self.m2 / (self.rows - 1) / self.rows)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided, and why, in words a person can read."""

    passed: bool
    words: str
    paired: Paired


def pool(replies: Sequence[wire.Evaluated]) -> Paired:
    """Pool the devices' figures as if all rows lay in one place.

    Means and squared deviations combine by the parallel algorithm of Chan, Golub and LeVeque
    (1983); devices without rows count for nothing.

    Examples
    --------
    >>> pool([]).rows
    0
    """
    counted = [reply for reply in replies if reply.rows > 0]
    rows = sum(reply.rows for reply in counted)
    if rows == 0:
        return Paired()

    def mean(name: str) -> float:
        return math.fsum(reply.rows * float(getattr(reply, name)) for reply in counted) / rows

    difference = mean("difference_mean")
    m2 = math.fsum(
        reply.difference_m2 + reply.rows * (reply.difference_mean - difference) ** 2
        for reply in counted
    )
    return Paired(
        devices=len(counted),
        rows=rows,
        mean=difference,
        m2=m2,
        candidate=mean("loss_candidate"),
        release=mean("loss_release"),
        baseline=mean("loss_baseline"),
    )


def judge(replies: Sequence[wire.Evaluated], settings: Gate) -> Decision:
    """Decide whether a candidate is released.

    It is when at least ``min_evaluators`` devices had rows to compare on, and the pooled mean
    difference is at most ``tolerance`` times the release's loss.
    """
    paired = pool(replies)
    if paired.devices < settings.min_evaluators:
        words = (
            f"refused: {paired.devices} of at least {settings.min_evaluators} devices "
            "had reserved rows to compare on"
        )
        return Decision(False, words, paired)
    allowed = settings.tolerance * abs(paired.release)
    passed = paired.mean <= allowed
    words = (
        f"{'released' if passed else 'refused'}: loss {paired.candidate:.6g} against "
        f"{paired.release:.6g} of the release and {paired.baseline:.6g} of the baseline; "
        f"difference {paired.mean:+.3g} (standard error {paired.standard_error:.2g}, "
        f"{paired.rows} rows, {paired.devices} devices), at most {allowed:+.3g} is allowed"
    )
    return Decision(passed, words, paired)
