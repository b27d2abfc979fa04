"""Devices whose rows are elsewhere: they take tasks here and are trained where their rows are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from headwater import wire
from headwater_agent.answers import plan_replay
from headwater_agent.events import Batch
from headwater_agent.replay import Replay, Replayed, Step
from headwater_simulator.device import Begun
from headwater_simulator.sources.holding import PAST
from headwater_simulator.virtual.holder import Holder
from headwater_simulator.virtual.training import Job, Tally


class Elsewhere(Protocol):
    """Where devices are trained."""

    def replay(self, jobs: Sequence[Job], tally: Tally) -> list[Replayed]:
        """Do trainings, each a :class:`FarReplay`; the results are in the order of the jobs.

        Parameters
        ----------
        jobs
            What is to be done.
        tally
            Counts what was done.
        """


class FarReplay(Replay, frozen=True, eq=False, kw_only=True):
    """The training of device ``number`` for a task; of its examples only the number is known."""

    number: int
    task: wire.Train


class FarHolder(Holder):
    """A device of a table that knows how many rows it has, and makes them only to judge."""

    def begin_update(self, task: wire.Train, trainer: Step) -> Begun:
        """Take up a task to train; raises as an agent does."""
        del trainer
        base = self.begin(task)
        planned = plan_replay(
            task, self._manifest, base=base, start=base, examples=_counted(self.examples)
        )
        training = FarReplay(
            start=planned.start,
            state=planned.state,
            examples=planned.examples,
            epochs=planned.epochs,
            batch=planned.batch,
            learning_rate=planned.learning_rate,
            seed=planned.seed,
            hold=planned.hold,
            number=self._number,
            task=task,
        )
        return Begun(task, self._updates, training)


def _counted(rows: int) -> Batch:
    """Return so many examples without content, of the day that all rows of tables are of."""
    return Batch(
        window=np.empty((rows, 0, 0), np.float32),
        time=np.full(rows, PAST, np.int64),
        label=np.zeros((rows, 1), np.float32),
        weight=np.ones(rows, np.float32),
    )
