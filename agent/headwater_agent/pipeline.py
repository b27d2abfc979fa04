"""The agent's core: records in, predictions, scores and training steps out.

No I/O, no clock, no randomness: :meth:`Pipeline.feed` takes an event and yields effects. The
caller carries each effect out; the answers to :class:`Infer` and :class:`Train` are fed back as
:class:`Inferred` and :class:`Trained` before the next :class:`Arrived`.

A batch of records goes through in this order, so that nothing is ever scored on a prediction made
after its label was seen or trained on: rows are joined, windows cut, predictions made with the
parameters as they are, labels met, examples stored, and only then learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import assert_never

import numpy as np

from headwater_agent.blocks import ReservedBlocks
from headwater_agent.events import (
    Arrived,
    Effect,
    Event,
    Example,
    Floats,
    Infer,
    Inferred,
    Prediction,
    Publish,
    Record,
    Refuse,
    Released,
    Row,
    Score,
    Store,
    Taken,
    Ticked,
    Trained,
    Version,
    Windows,
)
from headwater_agent.labels import ForecastLabels, Labelled
from headwater_agent.learner import Learner, LearnerSettings
from headwater_agent.rows import StreamRows
from headwater_agent.scores import Score as MeanScore
from headwater_agent.windows import StreamWindow
from headwater_models.arrays import Arrays
from headwater_models.manifest import Manifest

MAX_STREAMS = 10_000
"""Most streams one agent follows; records of further ones are refused and counted."""

MAX_MISSING = 0.5
"""Largest share of missing cells in a window that is still predicted."""

DEGRADED_MISSING = 0.25
"""Share of missing cells from which on a prediction says that its quality is degraded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What the store gives back at start.

    ``rows`` are the newest rows of each stream in order, at least window plus horizon of them;
    ``waiting`` the predictions that have no label yet; ``examples`` those after the checkpoint's
    ``learned_through``; ``sequence`` the highest sequence of any stored example.
    """

    checkpoint: bytes | None = None
    progress: Sequence[tuple[str, bytes]] = ()
    rows: Sequence[Row] = ()
    waiting: Sequence[Prediction] = ()
    examples: Sequence[Example] = ()
    sequence: int = 0


class _Stream:
    """The state of one stream."""

    def __init__(self, name: str, manifest: Manifest) -> None:
        self.rows = StreamRows(name, manifest.grid, len(manifest.channels))
        self.window = StreamWindow(manifest.window, len(manifest.channels))
        self.labels = ForecastLabels(manifest) if manifest.task == "forecast" else None


@dataclass(slots=True)
class _Pending:
    """A batch between its arrival and its predictions."""

    rows: list[Row] = field(default_factory=list)
    receipts: dict[int, None] = field(default_factory=dict)
    touched: dict[str, None] = field(default_factory=dict)


class Pipeline:
    """One model over all the streams of a device.

    Parameters
    ----------
    manifest
        The model's manifest.
    version
        The release to start from.
    settings
        How the personal model learns.
    """

    def __init__(self, manifest: Manifest, version: Version, settings: LearnerSettings) -> None:
        state: Arrays = {a.name: np.zeros(a.shape, np.float32) for a in manifest.state}
        self.learner = Learner(version, state, settings)
        self.records = 0
        self.sequence = 0
        self._manifest = manifest
        self._period = int(manifest.grid.period)
        self._blocks = ReservedBlocks(manifest)
        self._streams: dict[str, _Stream] = {}
        self._pending = _Pending()

    def restore(self, saved: Saved) -> Iterator[Effect]:
        """Go on where the store left off; learn the examples that the checkpoint lacks."""
        if saved.checkpoint is not None:
            self.learner.restore(saved.checkpoint)
        self.sequence = saved.sequence
        for name, progress in saved.progress:
            self._stream(name).rows.restore(progress)
        waiting = {(p.stream, p.time // self._period): p for p in saved.waiting}
        for row in saved.rows:
            stream = self._stream(row.stream)
            window = stream.window.push(row)
            prediction = waiting.get((row.stream, row.slot))
            if window is not None and prediction is not None and stream.labels is not None:
                stream.labels.expect(prediction, window)
        yield from self.learner.learn(list(saved.examples))

    def feed(self, event: Event) -> Iterator[Effect]:
        """Take one event and yield what is to be done about it."""
        match event:
            case Arrived(records):
                yield from self._arrived(records)
            case Inferred(windows, outputs):
                yield from self._finish(windows, outputs["released"], outputs["personal"])
            case Trained():
                yield from self.learner.trained(event)
            case Taken(sequence):
                self.learner.personal.take(sequence)
                yield self.learner.checkpoint()
            case Released(version, merged):
                self.learner.release(version, merged)
                yield self.learner.checkpoint()
            case Ticked():
                if self.learner.changed:
                    yield self.learner.checkpoint()
            case _:
                assert_never(event)

    def _arrived(self, records: tuple[Record, ...]) -> Iterator[Effect]:
        batch = self._pending = _Pending()
        cut: list[tuple[Row, Floats, int]] = []
        for record in records:
            if record.receipt:
                batch.receipts[record.receipt] = None
            if record.stream not in self._streams and len(self._streams) >= MAX_STREAMS:
                yield Refuse("full", record.stream)
                continue
            stream = self._stream(record.stream)
            if not stream.rows.accepts(record):
                yield Refuse("late", record.stream)
                continue
            self.records += 1
            batch.touched[record.stream] = None
            for row in stream.rows.add(record):
                batch.rows.append(row)
                window = stream.window.push(row)
                if window is not None and row.observed.any() and _missing(window) <= MAX_MISSING:
                    cut.append((row, window, record.received))
        if cut:
            yield Infer(
                self._windows(cut),
                {
                    "released": self.learner.version.weights,
                    "personal": self.learner.personal.parameters,
                },
            )
        elif batch.touched or batch.receipts:
            yield from self._finish(self._windows([]), _NOTHING, _NOTHING)

    def _windows(self, cut: list[tuple[Row, Floats, int]]) -> Windows:
        shape = (len(cut), self._manifest.window, len(self._manifest.channels))
        return Windows(
            streams=tuple(row.stream for row, _, _ in cut),
            times=np.array([row.slot * self._period for row, _, _ in cut], np.int64),
            values=np.stack([w for _, w, _ in cut]) if cut else np.zeros(shape, np.float32),
            received=np.array([received for _, _, received in cut], np.int64),
        )

    def _finish(self, windows: Windows, released: Floats, personal: Floats) -> Iterator[Effect]:
        batch, self._pending = self._pending, _Pending()
        predictions = self._predictions(windows, released, personal)
        if predictions:
            yield Publish(predictions)
        labelled = [item for row in batch.rows for item in self._meet(row)]
        examples = self._examples(labelled)
        yield Store(
            rows=tuple(batch.rows),
            predictions=predictions,
            scores=tuple(Score(item.prediction.id, item.label) for item in labelled),
            examples=tuple(examples),
            progress=tuple((name, self._streams[name].rows.progress()) for name in batch.touched),
            receipts=tuple(batch.receipts),
        )
        yield from self.learner.learn(examples)

    def _predictions(
        self, windows: Windows, released: Floats, personal: Floats
    ) -> tuple[Prediction, ...]:
        predictions = tuple(
            Prediction(
                id=_prediction_id(stream, int(windows.times[i]), self.learner.version.name),
                stream=stream,
                time=int(windows.times[i]),
                version=self.learner.version.name,
                released=released[i],
                personal=personal[i],
                baseline=self._baseline(windows.values[i]),
                quality="degraded" if _missing(windows.values[i]) > DEGRADED_MISSING else "ok",
                received=int(windows.received[i]),
            )
            for i, stream in enumerate(windows.streams)
        )
        for prediction, window in zip(predictions, windows.values, strict=True):
            labels = self._streams[prediction.stream].labels
            if labels is not None:
                labels.expect(prediction, window)
        return predictions

    def _baseline(self, window: Floats) -> Floats:
        """Repeat the last known target of the window (persistence); NaN where there is none."""
        if self._manifest.task != "forecast":
            return np.full(self._manifest.outputs, np.nan, np.float32)
        column = window[:, self._manifest.target_index]
        known = column[np.isfinite(column)]
        return known[-1:] if len(known) else np.full(1, np.nan, np.float32)

    def _meet(self, row: Row) -> Iterator[Labelled]:
        labels = self._streams[row.stream].labels
        for item in labels.meet(row) if labels is not None else ():
            prediction = item.prediction
            losses = {
                "baseline": abs(float(prediction.baseline[0]) - item.label),
                "released": abs(float(prediction.released[0]) - item.label),
                "personal": abs(float(prediction.personal[0]) - item.label),
            }
            if all(np.isfinite(loss) for loss in losses.values()):
                self.learner.score.add(**losses)
                self.learner.streams.setdefault(row.stream, MeanScore()).add(**losses)
            yield item

    def _examples(self, labelled: list[Labelled]) -> list[Example]:
        examples = []
        for item in labelled:
            use = self._blocks.use(item.prediction.stream, item.prediction.time)
            if use == "embargo":
                continue
            self.sequence += 1
            examples.append(
                Example(
                    sequence=self.sequence,
                    stream=item.prediction.stream,
                    time=item.prediction.time,
                    window=item.window,
                    label=np.array([item.label], np.float32),
                    reserved=use == "judge",
                )
            )
        return examples

    def _stream(self, name: str) -> _Stream:
        if name not in self._streams:
            self._streams[name] = _Stream(name, self._manifest)
        return self._streams[name]


def carry_out(
    pipeline: Pipeline, effects: Iterable[Effect], do: Callable[[Effect], Event | None]
) -> None:
    """Do each effect, and feed the answers back until there are none left.

    Parameters
    ----------
    pipeline
        The core that made the effects.
    effects
        What :meth:`Pipeline.feed` or :meth:`Pipeline.restore` yielded.
    do
        Carries one effect out and returns the answer, if the effect has one.
    """
    for effect in effects:
        answer = do(effect)
        if answer is not None:
            carry_out(pipeline, pipeline.feed(answer), do)


_NOTHING = np.zeros((0, 1), np.float32)


def _missing(window: Floats) -> float:
    """Return the share of missing cells."""
    return float(np.isnan(window).mean())


def _prediction_id(stream: str, time: int, version: str) -> str:
    """Name a prediction: the same version of the same window always gives the same name."""
    return blake2b(f"{stream}\n{time}\n{version}".encode(), digest_size=16).hexdigest()
