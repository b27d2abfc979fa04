"""An owner's wishes, done by the running agent: what it looks for every second."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from headwater.clock import now_ms
from headwater_agent import events, wishes
from headwater_agent.compute import Compute
from headwater_agent.jobs import Jobs
from headwater_agent.moments import show_moment
from headwater_agent.pauses import PARTS, Part, read_pauses
from headwater_agent.pipeline import Pipeline
from headwater_agent.quarantine import clear
from headwater_agent.requests import Clear, Forget, Reset, Warm, Wish, read, waiting
from headwater_agent.segment import Ints
from headwater_agent.settings import AgentSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import Note, PassingError
from headwater_agent.store_thread import StoreThread
from headwater_models.manifest import Manifest
from headwater_models.requested import Answer, settle, sweep

MAX_ROWS = 50_000
"""A stream with more stored rows is not warmed: history would tell it little."""

_log = logging.getLogger(__name__)


class Granting:
    """Take up requests and pauses.

    Parameters
    ----------
    settings
        Where they lie.
    manifest
        The model.
    pipeline, store, writer, compute, jobs
        The agent's.
    do_all
        Carries out the pipeline's effects.
    """

    def __init__(
        self,
        settings: AgentSettings,
        manifest: Manifest,
        *,
        pipeline: Pipeline,
        store: SqliteStore,
        writer: StoreThread,
        compute: Compute,
        jobs: Jobs,
        do_all: Callable[[Iterable[events.Effect]], None],
    ) -> None:
        self._settings = settings
        self._manifest = manifest
        self._period = int(manifest.grid.period)
        self._pipeline = pipeline
        self._store = store
        self._writer = writer
        self._compute = compute
        self._jobs = jobs
        self._do_all = do_all
        self._paused: tuple[Part, ...] = ()
        sweep(settings.requests)

    def look_at_pauses(self) -> None:
        """Pause, or go on with, what the owner says."""
        paused = read_pauses(self._settings.share)
        if paused == self._paused:
            return
        self._do_all(self._pipeline.feed(wishes.Pause("learning" in paused)))
        self._jobs.paused = "federation" in paused
        if self._jobs.paused != ("federation" in self._paused):
            detail = "federation, by the owner"
            self._writer.put(Note(now_ms(), "paused" if self._jobs.paused else "resumed", detail))
        self._paused = paused
        _log.info("paused: %s", ", ".join(part for part in PARTS if part in paused) or "nothing")

    def look(self) -> None:
        """Do what is asked for, in order; while nothing can be stored, it waits."""
        self.look_at_pauses()
        for path in waiting(self._settings.requests):
            wish = read(path)
            try:
                said = self._grant(wish)
            except PassingError as error:
                _log.warning("the request %s waits: %s", path.name, error)
                return
            settle(path, said)
            _log.info("%s", said.text)

    def _grant(self, wish: Wish | None) -> Answer:
        self._do_all(self._pipeline.feed(events.Settle()))
        self._writer.flush()
        match wish:
            case Clear():
                said = self._clear(wish)
            case Forget():
                said = self._forget()
            case Reset(stream):
                said = self._reset(stream)
            case Warm():
                said = self._warm(wish)
            case None:
                return Answer(False, "The request cannot be read; ask again.")
        self._writer.flush()
        return said

    def _clear(self, wish: Clear) -> Answer:
        cleared = clear(self._store, self._manifest, wish.wanted)
        self._do_all(self._pipeline.feed(cleared))
        detail = f"{len(cleared.marks)} values, {len(cleared.examples)} windows"
        self._writer.put(Note(now_ms(), "cleared", detail))
        return Answer(True, f"Put back {detail}.")

    def _forget(self) -> Answer:
        self._jobs.forget()
        self._do_all(self._pipeline.feed(wishes.Forget()))
        self._writer.put(Note(now_ms(), "forgotten", self._pipeline.learner.version.name))
        self._writer.flush()
        personal = self._pipeline.learner.personal
        self._compute.resume(personal.parameters, personal.state)
        return Answer(True, "Forgotten: the personal model is the release again.")

    def _reset(self, stream: str) -> Answer:
        if stream not in self._pipeline.streams:
            return Answer(False, f"There is no stream {stream}.")
        self._do_all(self._pipeline.feed(wishes.Reset(stream)))
        begun = show_moment(self._pipeline.streams[stream].begun)
        self._writer.put(Note(now_ms(), "renewed", f"stream {stream}"))
        return Answer(True, f"Stream {stream} begins anew at {begun}.")

    def _warm(self, wish: Warm) -> Answer:
        """Let a stream see its history and then its stored rows again, as if both had just come."""
        try:
            times, values, labels = wish.arrays(len(self._manifest.channels))
        except ValueError as error:
            return Answer(False, f"The history of {wish.stream} is damaged ({error}).")
        streams = self._pipeline.streams
        begun = streams[wish.stream].begun if wish.stream in streams else 0
        counts = {row["name"]: row["rows"] for row in self._store.streams()}
        if counts.get(wish.stream, 0) > MAX_ROWS:
            return Answer(
                False,
                f"Stream {wish.stream} has {counts[wish.stream]:,} rows already; history would "
                "tell it little.",
            )
        slots, cells = self._store.rows_of(wish.stream, begun // self._period, 2**40)
        until = int(slots[0]) * self._period if len(slots) else now_ms()
        use = (begun <= times) & (times < until)
        if not use.any():
            return Answer(
                False,
                f"Nothing of the history of {wish.stream} lies before its first row, at "
                f"{show_moment(until)}, and after a reset.",
            )
        history = self._records(wish.stream, times[use], values[use])
        stored = self._records(wish.stream, slots * self._period, cells)
        known = labels[use]
        self._do_all(
            self._pipeline.feed(
                wishes.Warm(
                    wish.stream,
                    (*history, *stored),
                    tuple(known[np.isfinite(known)].tolist()),
                    until,
                )
            )
        )
        first, last = show_moment(int(times[use][0])), show_moment(int(times[use][-1]))
        left = len(times) - int(use.sum())
        text = f"{wish.stream}: took {int(use.sum()):,} records from {first} to {last}"
        if left:
            text += f", left {left:,} that do not lie before its first row or are before a reset"
        self._writer.put(Note(now_ms(), "warmed", text))
        return Answer(True, f"{text}.")

    def _records(self, stream: str, times: Ints, values: events.Floats) -> Iterator[events.Record]:
        for time, cells in zip(times.tolist(), values, strict=True):
            yield events.Record(stream, time, cells, ~np.isnan(cells), received=time)
