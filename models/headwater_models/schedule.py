"""The learning rate of a step: what the manifest's schedule makes of its base."""

from __future__ import annotations

import math

from headwater_models.manifest import Schedule


def rate(schedule: Schedule, base: float, step: int) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    base
        The rate at the end of the warm-up.
    step
        Steps taken before this one, from 0 on.

    Returns
    -------
    float
        During the warm-up ``base * (step + 1) / warmup``, so that no step is lost; after it
        ``base``, or ``base * sqrt(warmup / step)`` (Vaswani et al. 2017), or what half a cosine
        (Loshchilov and Hutter 2017) or a line has left of it after a share of ``steps``; never
        below ``floor * base``.

    Examples
    --------
    >>> fading = Schedule(kind="linear", warmup=2, steps=4)
    >>> [round(rate(fading, 0.1, step), 3) for step in range(7)]
    [0.05, 0.1, 0.1, 0.075, 0.05, 0.025, 0.0]
    """
    if step < schedule.warmup:
        return base * (step + 1) / schedule.warmup
    return base * max(_share(schedule, step - schedule.warmup), schedule.floor)


def _share(schedule: Schedule, step: int) -> float:
    """Return what is left of the base *step* steps after the warm-up."""
    passed = min(step / max(schedule.steps, 1), 1.0)
    match schedule.kind:
        case "constant":
            return 1.0
        case "inverse_sqrt":
            return math.sqrt(max(schedule.warmup, 1) / (max(schedule.warmup, 1) + step))
        case "cosine":
            low = schedule.floor
            return low + (1.0 - low) * (1.0 + math.cos(math.pi * passed)) / 2
        case "linear":
            return 1.0 - (1.0 - schedule.floor) * passed
