"""A device that holds labelled rows from the beginning, and nothing of a stream.

It takes tasks as an agent does and answers them with the agent's own functions. What it lacks is
what a table has no use for: windows, predictions as they come, a personal model.
"""

from __future__ import annotations

from headwater import wire
from headwater.objects import Vector
from headwater_agent.answers import (
    DeclinedError,
    data_until,
    judge_candidate,
    offer_gathered,
    offer_replayed,
    plan_replay,
    tell_update,
    worth_learning,
)
from headwater_agent.compressing import prepare
from headwater_agent.events import Batch, Floats, Version
from headwater_agent.replay import Replayed, Step, usable_rows
from headwater_models.arrays import Arrays
from headwater_models.manifest import Manifest
from headwater_models.session import Predictor
from headwater_models.statistics import no_statistics
from headwater_simulator.device import Begun, Made
from headwater_simulator.sources.source import Holding, Tables


class Holder:
    """A device of a table.

    Parameters
    ----------
    name
        As it calls itself.
    number
        Of the device, as its source counts.
    tables
        Where its rows are.
    manifest
        Of the model.
    version
        The release that it begins with.
    """

    def __init__(
        self, name: str, number: int, tables: Tables, manifest: Manifest, version: Version
    ) -> None:
        self.name = name
        self._number = number
        self._tables = tables
        self._manifest = manifest
        self._version = version
        self._updates = 0
        self._lost: Floats | None = None
        self._usable: int | None = None
        self._until: int | None = None

    def check_in(self, model: str) -> wire.CheckedIn:
        """Say who it is and what it runs."""
        rows = self.examples
        return wire.CheckedIn(
            device=self.name,
            model=model,
            version=self._version.name,
            sequence=self._version.sequence,
            records=rows,
            examples=rows,
        )

    def begin_update(self, task: wire.Train, trainer: Step) -> Begun | Made:
        """Take up a task to train; raises as an agent does.

        Statistics were gathered when the rows came, which was before the run began.
        """
        weights = self.begin(task)
        if self._manifest.statistics:
            return self._gathered(task, weights, trainer)
        learned = self._tables.holding(self._number).learned
        if self._usable is None:
            self._usable = len(usable_rows(learned))
        training = plan_replay(
            task,
            self._manifest,
            base=weights,
            start=weights,
            examples=learned,
            usable=self._usable,
        )
        return Begun(task, self._updates, training)

    def begin(self, task: wire.Train) -> Arrays:
        """Count a task to train; return the weights that it begins from."""
        if task.base != self._version.name:
            raise DeclinedError("unknown-base")
        self._updates += 1
        return self._version.weights

    def finish_update(self, begun: Begun, made: Replayed) -> Made:
        """Return the answer to a task whose training was done; raises as an agent does."""
        task, training = begun.task, begun.training
        offered = offer_replayed(self._manifest, training, made, training.start)
        if self._until is None:
            self._until = data_until(self._manifest, training.examples)
        update, change = tell_update(
            task, offered, device=self.name, sequence=begun.sequence, until=self._until
        )
        return update, self._sent(task, change)

    def judge(self, task: wire.Evaluate, candidate: Arrays, predictor: Predictor) -> wire.Reply:
        """Compare a candidate with the release on reserved rows; raises as an agent does."""
        holding = self._holding
        return judge_candidate(
            task,
            device=self.name,
            manifest=self._manifest,
            predictor=predictor,
            reserved=holding.reserved,
            learned=holding.learned,
            candidate=candidate,
            release=self._version.weights,
            local={},
        )

    def take(self, version: Version, merged: int) -> None:
        """Take a release."""
        del merged
        self._version = version

    @property
    def examples(self) -> int:
        """How many rows it learns from."""
        return self._tables.count(self._number)

    @property
    def learned(self) -> Batch:
        """The rows that it learns from."""
        return self._holding.learned

    @property
    def reserved(self) -> Batch:
        """The rows that it never learns from."""
        return self._holding.reserved

    @property
    def _holding(self) -> Holding:
        return self._tables.holding(self._number)

    def _gathered(self, task: wire.Train, weights: Arrays, trainer: Step) -> Made:
        manifest = self._manifest
        examples = worth_learning(manifest, self.learned)
        _, gathered, _ = trainer.step(examples, weights, no_statistics(manifest), 0.0)
        update, statistics = tell_update(
            task,
            offer_gathered(manifest, weights, gathered, weights),
            device=self.name,
            sequence=self._updates,
            until=data_until(manifest, examples),
        )
        return update, self._sent(task, statistics)

    def _sent(self, task: wire.Train, change: Vector) -> Vector:
        sent, self._lost = prepare(task, change, self._manifest, self._lost)
        return sent
