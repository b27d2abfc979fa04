"""Trainings dealt out to the workers of a cluster, and what comes back put in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headwater_agent.events import Floats
from headwater_agent.replay import Replayed
from headwater_models.arrays import Arrays, pack, unpack
from headwater_models.manifest import Manifest
from headwater_simulator.cluster.working import Done, Order
from headwater_simulator.virtual.far import FarReplay
from headwater_simulator.virtual.training import Job, Tally


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """What one worker is to do: orders, and the packed weights they begin from ``[B, n]``."""

    bases: Floats
    orders: Sequence[Order]


Carry = Callable[[Sequence[Parcel]], Sequence[tuple[Done, Floats]]]
"""Has each parcel done by a worker; the answers are in their order."""


class Dealer:
    """Has trainings done by workers.

    Parameters
    ----------
    manifest
        Of the model.
    workers
        How many there are.
    carry
        The way to them.
    """

    def __init__(self, manifest: Manifest, workers: int, carry: Carry) -> None:
        self._manifest, self._workers, self._carry = manifest, workers, carry

    def replay(self, jobs: Sequence[Job], tally: Tally) -> list[Replayed]:
        """Do trainings; see :class:`headwater_simulator.virtual.far.Elsewhere`."""
        shares = [range(i, len(jobs), self._workers) for i in range(self._workers)]
        shares = [share for share in shares if share]
        parcels = [self._parcel([jobs[i] for i in share]) for share in shares]
        found: dict[int, Replayed] = {}
        for share, (done, packed) in zip(shares, self._carry(parcels), strict=True):
            tally.stacked += done.stacked
            tally.looped += done.looped
            for i, made, vector in zip(share, done.made, packed, strict=True):
                weights = jobs[i].replay.start | unpack(self._manifest, vector)
                found[i] = Replayed(weights, made.examples, made.loss_before, made.loss_after)
        return [found[i] for i in range(len(jobs))]

    def _parcel(self, jobs: Sequence[Job]) -> Parcel:
        bases: dict[int, tuple[int, Arrays]] = {}
        orders = []
        for job in jobs:
            replay = job.replay
            if not isinstance(replay, FarReplay):
                raise TypeError("Only devices whose rows are elsewhere are trained there.")
            place, _ = bases.setdefault(id(replay.start), (len(bases), replay.start))
            orders.append(Order(replay.number, replay.task, place, job.steps))
        vectors = [pack(self._manifest, start) for _, start in bases.values()]
        return Parcel(np.stack(vectors), orders)
