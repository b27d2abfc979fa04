"""What every source of data offers: the facts of its task, and the data of each device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.settings import Duration
from headwater_agent.events import Batch
from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Channel, Grid, Loss, Reserve, Task
from headwater_models.recipe import EMBARGOES

Floats = NDArray[np.float32]

RESERVED = 0.1
"""Share of the event-time blocks of a stream that is never learned from."""

LEAST_BLOCK = 24
"""Rows of a reserved block, at least: rows that follow each other say nearly the same."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What data say about a model for them; see :class:`headwater_models.manifest.Manifest`."""

    task: Task
    channels: tuple[Channel, ...]
    grid: Grid
    reserve: Reserve
    loss: Loss
    target: str = ""
    horizon: Duration = Duration(0)
    classes: tuple[str, ...] = ()
    scaling: Scaling | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A stretch of a stream: one row for each period of the grid from row ``first`` on.

    ``values`` is float32 ``[K, C]``, NaN where nothing was measured; rows that were not measured
    at all are NaN throughout. ``labels`` is float32 ``[K]`` where labels come from outside.
    """

    first: int
    values: Floats
    labels: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Holding:
    """What a device of a table holds from the beginning: what it learns from, what it judges on."""

    learned: Batch
    reserved: Batch


@runtime_checkable
class Streams(Protocol):
    """Streams of records, one for each device; each row has its place on the manifest's grid."""

    @property
    def facts(self) -> Facts:
        """The facts of the task."""

    @property
    def label_delay(self) -> Duration:
        """How much later than its row a label from outside comes; no meaning without those."""

    def rows(self, device: int, first: int, count: int) -> Rows:
        """Return rows ``first`` to ``first + count`` of a device; fewer where its stream ends.

        The same whenever and however often it is asked for, and however the stretches are cut.
        """


@runtime_checkable
class Tables(Protocol):
    """Labelled rows that devices hold from the beginning."""

    @property
    def facts(self) -> Facts:
        """The facts of the task."""

    def count(self, device: int) -> int:
        """Return how many rows a device learns from."""

    def holding(self, device: int) -> Holding:
        """Return what a device holds; the same each time."""


Source = Streams | Tables


def reserve(period: Duration, window: int, horizon: Duration) -> Reserve:
    """Return which blocks of a stream are reserved: short ones, so that each device soon has some.

    Parameters
    ----------
    period, horizon
        Of the grid, and of a forecast.
    window
        Rows of the model's window.
    """
    rows = max(LEAST_BLOCK, EMBARGOES * (window - (-horizon // period)))
    return Reserve(share=RESERVED, block=Duration(rows * period))
