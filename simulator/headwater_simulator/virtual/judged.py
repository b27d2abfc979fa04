"""The rows that all releases are judged on: those of some devices, which nobody learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater_agent.answers import MIN_ROWS
from headwater_agent.evaluation import reference
from headwater_models.judging import has_meaning, losses
from headwater_simulator.virtual.fleet import Fleet
from headwater_simulator.virtual.member import Member


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The rows of all judges together; ``cuts`` says where each one's begin and end."""

    window: NDArray[np.float32]
    time: NDArray[np.int64]
    label: NDArray[np.float32]
    baseline: NDArray[np.float64]
    cuts: Mapping[str, slice]


def gathered(fleet: Fleet, judges: Sequence[Member]) -> Judged:
    """Put the rows together that judges can judge on; those with too few are left out."""
    manifest = fleet.bundle.manifest
    windows, times, labels, baselines = [], [], [], []
    cuts: dict[str, slice] = {}
    start = 0
    for member in judges:
        reserved = member.device.reserved
        if len(reserved.weight) < MIN_ROWS:
            continue
        learned = member.device.learned.label[:, 0]
        baseline = reference(manifest, reserved.window, learned)
        usable = np.isfinite(baseline).all(axis=1) & has_meaning(manifest, reserved.label[:, 0])
        if usable.sum() < MIN_ROWS:
            continue
        windows.append(reserved.window[usable])
        times.append(reserved.time[usable])
        labels.append(reserved.label[usable])
        baselines.append(losses(manifest, baseline[usable], reserved.label[usable]))
        cuts[member.name] = slice(start, start + len(labels[-1]))
        start += len(labels[-1])
    if not cuts:
        empty = np.zeros((0, 1), np.float32)
        return Judged(empty, np.zeros(0, np.int64), empty, np.zeros(0), cuts)
    return Judged(
        np.concatenate(windows),
        np.concatenate(times),
        np.concatenate(labels),
        np.concatenate(baselines),
        cuts,
    )
