"""What became of one record: its row, prediction, label, example, update and release."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from headwater.errors import PeerError, StorageError
from headwater.wire import decode_reply
from headwater_agent.agent_reader import AgentReader
from headwater_agent.correspondence import StoredVersion
from headwater_agent.events import Mark, Prediction
from headwater_agent.exchange import ExchangeReader
from headwater_agent.learner import read_checkpoint
from headwater_agent.segment_log import HIGHEST
from headwater_agent.settings import AgentSettings
from headwater_agent.store import Update
from headwater_models.manifest import Manifest

Fate = Literal["learned", "waits", "reserved", "held back", "none"]
"""What a window is to the learner.

``none``: it has no label yet, lies in an embargo, or was dropped or deleted since.
"""


class TracedPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction of the window that ends at the record's row; values in the target's unit."""

    id: str
    version: str
    served: str
    released: list[float]
    personal: list[float]
    baseline: list[float]
    quality: str
    received_ms: int
    label: float | None


class TracedExample(msgspec.Struct, frozen=True, kw_only=True):
    """The example that the window became; ``sequence`` 0 where it is none."""

    fate: Fate
    sequence: int
    label: float | None


class TracedUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The first update that was made of the example, and what was answered, as far as known."""

    sequence: int
    task: str
    base: str
    taken_ms: int
    answer: str
    answered_ms: int | None


class TracedRelease(msgspec.Struct, frozen=True, kw_only=True):
    """The first release with that update in it, of those that the device still has."""

    version: str
    sequence: int
    received_ms: int


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """All that is stored of a record.

    ``row`` has the values of its row by channel, None where one is missing; it is empty where the
    row is not stored (any more). ``aside`` are the values of the row that the guard keeps aside.
    """

    stream: str
    time_ms: int
    row: dict[str, float | None]
    aside: tuple[Mark, ...]
    predictions: tuple[TracedPrediction, ...]
    example: TracedExample
    update: TracedUpdate | None
    release: TracedRelease | None


class _TraceReader(AgentReader):
    """Finds what belongs to a stream and a time."""

    def predictions_at(self, stream: str, time: int) -> list[tuple[Prediction, float | None]]:
        """Return predictions of a window, each with its label, oldest first."""
        with self._snapshot():
            number = self._number(stream)
            found = self._records.predictions()
            at = (found.column("stream") == number) & (found.column("time") == time)
            places = np.flatnonzero(at)
            made = list(found.predictions(places))
        labels, scored = found.labels[places].tolist(), found.scored[places].tolist()
        return [
            (one, label if known else None)
            for one, label, known in zip(made, labels, scored, strict=True)
        ]

    def example_at(self, stream: str, time: int) -> tuple[int, float, bool] | None:
        """Return sequence, label and whether it is reserved of the example of a window."""
        with self._snapshot():
            number = self._number(stream)
            for reserved in (False, True):
                found = self._records.examples(newest=HIGHEST, reserved=reserved)
                for place in np.flatnonzero((found.streams == number) & (found.times == time)):
                    return int(found.sequences[place]), float(found.labels[place]), reserved
        return None

    def count_after(self, sequence: int, through: int) -> int:
        """Return how many examples that may be learned from lie after one, up to another."""
        with self._snapshot():
            found = self._records.examples(
                newest=HIGHEST, reserved=False, after=sequence, through=through
            )
        return len(found.sequences)

    def update_from(self, sequence: int) -> Update | None:
        """Return the first update that reaches to an example."""
        with self._snapshot():
            found = self._one(
                "SELECT sequence, task, base, learned_through, taken_ms FROM updates"
                " WHERE learned_through >= ? ORDER BY sequence LIMIT 1",
                (sequence,),
            )
        return Update(*found) if found else None

    def _number(self, stream: str) -> int:
        names = self._records.names()
        if not stream or stream not in names:
            known = ", ".join(name for name in names if name) or "none"
            raise StorageError(f"There is no stream {stream!r}; there is {known}.")
        return names.index(stream)


def trace(settings: AgentSettings, manifest: Manifest, stream: str, time_ms: int) -> Trace:
    """Find all that is stored of the record of a stream at a time; nothing is written.

    Parameters
    ----------
    settings, manifest
        Of the agent and its model.
    stream, time_ms
        Any time in the record's row, UTC milliseconds.

    Raises
    ------
    StorageError
        When there is no such stream, or a database cannot be read.
    """
    period = int(manifest.grid.period)
    slot = time_ms // period
    reader = _TraceReader(settings.agent_db, manifest)
    try:
        made = reader.predictions_at(stream, slot * period)
        slots, cells = reader.rows_of(stream, slot, slot)
        example = _example(reader, stream, slot * period)
        update = _update(reader, settings, manifest, example)
        marks = [m for m in reader.marks() if (m.stream, m.time // period) == (stream, slot)]
    finally:
        reader.close()
    names = [channel.name for channel in manifest.channels]
    values = cells[0].tolist() if len(slots) else []
    return Trace(
        stream=stream,
        time_ms=slot * period,
        row={name: _known(value) for name, value in zip(names, values, strict=False)},
        aside=tuple(marks),
        predictions=tuple(_prediction(one, label) for one, label in made),
        example=example,
        update=update,
        release=_release(ExchangeReader(settings.exchange_db), update),
    )


def _prediction(made: Prediction, label: float | None) -> TracedPrediction:
    return TracedPrediction(
        id=made.id,
        version=made.version,
        served=made.served,
        released=made.released.tolist(),
        personal=made.personal.tolist(),
        baseline=made.baseline.tolist(),
        quality=made.quality,
        received_ms=made.received,
        label=label,
    )


def _example(reader: _TraceReader, stream: str, time: int) -> TracedExample:
    found = reader.example_at(stream, time)
    if found is None:
        held = [one for one in reader.held() if (one.stream, one.time) == (stream, time)]
        if not held:
            return TracedExample(fate="none", sequence=0, label=None)
        return TracedExample(fate="held back", sequence=0, label=held[0].label)
    sequence, label, reserved = found
    if reserved:
        return TracedExample(fate="reserved", sequence=sequence, label=label)
    checkpoint = reader.checkpoint()
    through = read_checkpoint(checkpoint).learned_through if checkpoint is not None else 0
    fate: Fate = "learned" if sequence <= through else "waits"
    return TracedExample(fate=fate, sequence=sequence, label=label)


def _update(
    reader: _TraceReader, settings: AgentSettings, manifest: Manifest, example: TracedExample
) -> TracedUpdate | None:
    """Return the first update with the example in it: a replay takes the newest ones alone."""
    if example.fate != "learned":
        return None
    update = reader.update_from(example.sequence)
    if update is None:
        return None
    replays = settings.learn.training == "replay" and not manifest.statistics
    newer = reader.count_after(example.sequence, update.learned_through)
    if replays and newer >= settings.learn.buffer:
        return None
    task = ExchangeReader(settings.exchange_db).task(update.task)
    return TracedUpdate(
        sequence=update.sequence,
        task=update.task,
        base=update.base,
        taken_ms=update.taken_ms,
        answer=_answer(task.reply) if task is not None else "",
        answered_ms=task.answered_ms if task is not None else None,
    )


def _answer(reply: bytes | None) -> str:
    """Say what kind of answer was decided on; empty while none was."""
    if reply is None:
        return ""
    try:
        return type(decode_reply(reply)).__name__.lower()
    except PeerError:
        return ""


def _release(exchange: ExchangeReader, update: TracedUpdate | None) -> TracedRelease | None:
    if update is None or update.answer == "declined":
        return None
    found: list[StoredVersion] = [
        one
        for one in exchange.versions()
        if one.kind != "candidate" and one.merged >= update.sequence
    ]
    if not found:
        return None
    first = found[0]
    return TracedRelease(
        version=first.version, sequence=first.sequence, received_ms=first.received_ms
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
