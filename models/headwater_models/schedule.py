"""The learning rate at each step of a schedule."""

from __future__ import annotations

import math

from headwater_models.manifest import Schedule


def rate(schedule: Schedule, base: float, step: int) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    schedule
        As the manifest says.
    base
        The rate that the schedule starts from after its warm-up.
    step
        Steps taken before this one.
    """
    if step < schedule.warmup:
        return base * (step + 1) / schedule.warmup
    passed = step - schedule.warmup
    if schedule.kind == "inverse_sqrt":
        return base * math.sqrt(max(schedule.warmup, 1) / (max(schedule.warmup, 1) + passed))
    if schedule.kind == "constant":
        return base
    share = min(1.0, passed / max(schedule.steps, 1))
    left = (1 + math.cos(math.pi * share)) / 2 if schedule.kind == "cosine" else 1 - share
    return base * (schedule.floor + (1 - schedule.floor) * left)
