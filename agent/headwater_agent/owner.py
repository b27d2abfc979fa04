"""What the pipeline does about an owner's wishes: pause, forget, begin a stream anew, warm it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

import numpy as np

from headwater_agent.events import (
    Checkpoint,
    Effect,
    Happened,
    Infer,
    Inferred,
    Record,
    Refuse,
    Row,
    Store,
)
from headwater_agent.examples import Examples
from headwater_agent.labels import Labels
from headwater_agent.learner import Learner
from headwater_agent.predicting import Predicting
from headwater_agent.streams import Joined, Streams
from headwater_agent.watch import Watch
from headwater_agent.wishes import Forget, Pause, Reset, Warm, Wish

AT_ONCE = 1_024
"""Windows of the past that are inferred together."""


class Owner:
    """Grant wishes, once everything that came before was settled.

    Parameters
    ----------
    learner, streams, labels, examples, predicting, watch
        The pipeline's.
    period
        Of the grid, milliseconds.
    checkpoint
        Encodes what was learned.

    Attributes
    ----------
    warms
        Whether what is inferred now is of a stream's past.
    """

    def __init__(
        self,
        learner: Learner,
        streams: Streams,
        *,
        labels: Labels,
        examples: Examples,
        predicting: Predicting,
        watch: Watch,
        period: int,
        checkpoint: Callable[[], Checkpoint],
    ) -> None:
        self._learner = learner
        self._streams = streams
        self._labels = labels
        self._examples = examples
        self._predicting = predicting
        self._watch = watch
        self._period = period
        self._checkpoint = checkpoint
        self.warms = False

    def grant(self, wish: Wish) -> Iterator[Effect]:
        """Do what is asked for."""
        match wish:
            case Pause(on):
                yield from self._pause(on=on)
            case Forget():
                yield from self._forget()
            case Reset(stream):
                yield from self._reset(stream)
            case Warm():
                yield from self._warm(wish)
            case _:
                assert_never(wish)

    def remember(self, answer: Inferred) -> None:
        """Set thresholds by what the models say of a stream's past."""
        outputs = answer.outputs
        self._streams.judge(answer.windows.streams, outputs["released"], outputs["personal"])

    def _pause(self, *, on: bool) -> Iterator[Happened]:
        if on != self._learner.paused:
            self._learner.paused = self._predicting.held = on
            yield Happened("paused" if on else "resumed", "learning, by the owner")

    def _forget(self) -> Iterator[Store | Checkpoint]:
        """Let nothing that was seen so far be learned from, again or at all."""
        for name in self._streams:
            self._labels.forget(name)
            stream = self._streams[name]
            stream.since = max(stream.since, stream.rows.newest + 1)
        sequence = self._examples.sequence
        self._learner.forget(sequence)
        yield Store(progress=self._progress(self._streams), erased=(("", sequence),))
        yield self._checkpoint()

    def _reset(self, name: str) -> Iterator[Store | Refuse]:
        """Begin a new epoch; what was of the old one and is not whole yet is stored as it is."""
        old = self._streams[name]
        yield from old.guard.give_up()
        rows = tuple(old.rows.finish())
        new = self._streams.renew(name)
        new.rows.restore(old.rows.progress())
        new.begun = new.since = (old.rows.newest // self._period + 1) * self._period
        self._labels.forget(name)
        self._learner.leave_out(name)
        self._watch.forget(name)
        self._learner.changed = True
        erased = ((name, self._examples.sequence),)
        yield Store(rows=rows, progress=self._progress([name]), erased=erased)

    def _warm(self, wish: Warm) -> Iterator[Store | Refuse | Infer]:
        """Make a stream anew out of its past; what waited for the rest of its row comes last."""
        old, taken = self._streams[wish.stream], self._streams.records
        yield from old.guard.give_up()
        waited = list(old.rows.finish())
        new = self._streams.renew(wish.stream)
        new.take_over(old)
        self._watch.forget(wish.stream)
        joined = Joined()
        records = [*wish.records, *(_as_record(row, self._period) for row in waited)]
        self._streams.join(records, joined)  # what cannot be used of the past is left out
        self._streams.records = taken
        self._watch.monitor.warm(joined.rows, ())
        new.baseline.preceded(wish.labels)
        if new.lacks_thresholds:
            self.warms = True
            for first in range(0, len(joined.cut), AT_ONCE):
                yield self._predicting.ask(joined.cut[first : first + AT_ONCE])
            self.warms = False
        self._learner.changed = True
        there = {row.slot for row in waited}
        yield Store(
            rows=tuple(
                row
                for row in joined.rows
                if row.slot * self._period < wish.until or row.slot in there
            ),
            marks=tuple(mark for mark in joined.marks if mark.time < wish.until),
            progress=self._progress([wish.stream]),
        )

    def _progress(self, names: Iterable[str]) -> tuple[tuple[str, bytes], ...]:
        return tuple((name, self._streams[name].progress()) for name in names)


def _as_record(row: Row, period: int) -> Record:
    time = row.slot * period
    return Record(row.stream, time, row.values, ~np.isnan(row.values), received=time)
