"""What a worker of a cluster does: it makes the rows of devices and trains them, all at once.

It is told the scenario and the numbers of devices. Their rows follow from these, so that no row
ever crosses the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from headwater import wire
from headwater.errors import UnsupportedError
from headwater_agent.answers import plan_replay
from headwater_agent.events import Floats
from headwater_models.arrays import pack, unpack
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.opening import open_source
from headwater_simulator.sources.source import Source, Tables
from headwater_simulator.virtual.fleet import make_bundle
from headwater_simulator.virtual.training import FleetTrainer, Job, Tally


class Order(msgspec.Struct, frozen=True, array_like=True):
    """The training of a device for a task, from one of the bases, in ``steps`` steps at most."""

    device: int
    task: wire.Train
    base: int
    steps: int | None


class Made(msgspec.Struct, frozen=True, array_like=True):
    """What a training came to, beside its weights; see :class:`headwater_agent.replay.Replayed`."""

    examples: int
    loss_before: float
    loss_after: float


class Done(msgspec.Struct, frozen=True, array_like=True):
    """What a worker did, in the order of the orders, and how: see :class:`.training.Tally`."""

    made: tuple[Made, ...]
    stacked: int
    looped: int


class Worker:
    """Trains devices of a scenario.

    Parameters
    ----------
    scenario
        The same on all workers; files that it names lie where it says on each of them.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._tables = require_tables(open_source(scenario))
        self._bundle = make_bundle(scenario, self._tables.facts)
        self._tally = Tally()
        self._trainer = FleetTrainer(self._bundle.train, self._tally)

    def do(self, bases: Floats, orders: Sequence[Order]) -> tuple[Done, Floats]:
        """Carry out orders.

        Parameters
        ----------
        bases
            Packed weights to begin from, float32 ``[B, n]``.
        orders
            What is to be done; each was checked to have rows enough.

        Returns
        -------
        tuple
            What it came to, and the packed weights, float32 ``[K, n]``.
        """
        manifest = self._bundle.manifest
        before = self._tally.stacked, self._tally.looped
        starts = [self._bundle.weights | unpack(manifest, base) for base in bases]
        jobs = [
            Job(
                plan_replay(
                    order.task,
                    manifest,
                    base=starts[order.base],
                    start=starts[order.base],
                    examples=self._tables.holding(order.device).learned,
                ),
                order.steps,
            )
            for order in orders
        ]
        made = self._trainer.replay(jobs)
        done = Done(
            tuple(Made(one.examples, one.loss_before, one.loss_after) for one in made),
            self._tally.stacked - before[0],
            self._tally.looped - before[1],
        )
        return done, np.stack([pack(manifest, one.weights) for one in made])


def require_tables(source: Source) -> Tables:
    """Return a source whose devices can be trained on a cluster.

    Raises
    ------
    UnsupportedError
        When it has streams.
    """
    if not isinstance(source, Tables):
        raise UnsupportedError(
            "The Ray engine needs a table, whose rows workers make by a device's number; a stream "
            'goes through an agent that remembers. Take data.kind = "table" or "synthetic", or '
            "the virtual engine."
        )
    return source
