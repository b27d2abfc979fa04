"""The agent's core: records in, predictions, scores and training steps out.

No I/O, no clock, no randomness: :meth:`Pipeline.feed` takes an event and yields effects. The
caller carries each effect out; the answers to :class:`Infer` and :class:`Train` are fed back as
:class:`Inferred` and :class:`Trained` before the next :class:`Arrived`.

Predictions are made as soon as records arrive. The rest is settled later, for many batches
together, in this order, so that nothing is ever scored on a prediction made after its label was
seen or trained on: labels met, examples stored, and only then learned from. Rows and labels meet
in the order in which they came, so that it makes no difference how they are cut into batches, nor
when they are settled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np

from headwater_agent.events import (
    Alarm,
    Arrived,
    Checkpoint,
    Cleared,
    Effect,
    Event,
    Example,
    Floats,
    Happened,
    Inferred,
    Mark,
    Prediction,
    Publish,
    Refined,
    Refuse,
    Released,
    Row,
    Score,
    Settle,
    Store,
    Study,
    Taken,
    Ticked,
    Trained,
    Version,
    Warn,
)
from headwater_agent.examples import Examples
from headwater_agent.intake import Intake
from headwater_agent.labels import Labels
from headwater_agent.learner import new_learner
from headwater_agent.matching import Matching
from headwater_agent.met import Entry, Labelled, Met
from headwater_agent.owner import Owner
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.predicting import Predicting
from headwater_agent.predictions import Predictions
from headwater_agent.ranking import Ranking
from headwater_agent.scorer import Scorer, errors_of, served_of
from headwater_agent.silence import Passed, Silence, usual_silence
from headwater_agent.stacking import join
from headwater_agent.streams import Streams
from headwater_agent.watch import Watch
from headwater_agent.wishes import Forget, Pause, Reset, Warm, Wish
from headwater_models.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What the store gives back at start.

    ``progress`` and ``standing`` hold the newest of each name; ``rows`` are the newest rows of each
    stream in order, at least a window of them; ``waiting`` the predictions whose label may still
    come, with their windows; ``scored`` the newest whose label came, in order; ``sequences`` are
    those of the newest examples, by stream and time; ``examples`` those after the checkpoint's
    ``learned_through``; ``sequence`` the highest of any stored example.
    """

    checkpoint: bytes | None = None
    progress: Sequence[tuple[str, bytes]] = ()
    standing: Sequence[tuple[str, bytes]] = ()
    rows: Sequence[Row] = ()
    waiting: Sequence[tuple[Prediction, Floats]] = ()
    scored: Sequence[tuple[Prediction, float]] = ()
    sequences: Mapping[tuple[str, int], int] = field(default_factory=dict)
    examples: Sequence[Example] = ()
    sequence: int = 0

    def newest(self, period: int) -> int:
        """Return the time of the newest row of any stream, UTC milliseconds; 0 where none is."""
        return max((row.slot for row in self.rows), default=0) * period

    def entries(self) -> Iterator[Entry]:
        """Yield the predictions that a label may still be for, or correct."""
        labelled: list[tuple[Prediction, Floats, float | None]] = [
            *((made, window, None) for made, window in self.waiting),
            *((made, _NO_WINDOW, label) for made, label in self.scored),
        ]
        for made, window, label in labelled:
            yield Entry(made, window, label, self.sequences.get((made.stream, made.time), 0))


class Pipeline:
    """One model over all the streams of a device.

    Parameters
    ----------
    manifest
        The model's manifest.
    version
        The release to start from.
    settings
        How it learns, what it serves, where labels come from.
    ranking
        Counts how well models beside it do.
    """

    def __init__(
        self,
        manifest: Manifest,
        version: Version,
        settings: PipelineSettings,
        ranking: Ranking | None = None,
    ) -> None:
        self.ranking = ranking or Ranking(manifest)
        self.learner = new_learner(manifest, version, settings.learn, settings.serve)
        self.labels = Labels(
            manifest, late=settings.labels.late, tolerance=settings.labels.tolerance
        )
        self.examples = Examples(manifest, self.learner)
        self._manifest = manifest
        self._outside = settings.labels.outside
        self._scorer = Scorer(
            self.learner,
            max(int(manifest.horizon), settings.labels.late, int(manifest.grid.period)),
        )
        self.watch = Watch(manifest, settings.drift)
        self.streams = Streams(manifest, settings)
        self._predicting = Predicting(manifest, self.learner, self.streams)
        self._matching = Matching(manifest, self.labels, self.examples)
        self._owner = Owner(
            self.learner,
            self.streams,
            labels=self.labels,
            examples=self.examples,
            predicting=self._predicting,
            watch=self.watch,
            period=int(manifest.grid.period),
            checkpoint=self.checkpoint,
        )
        after = settings.streams.silent_after
        self.silence = Silence((usual_silence(manifest.grid) if after is None else after) / 1000)
        self._batch, self._settles = Intake(), True

    @property
    def records(self) -> int:
        """How many records were taken up."""
        return self.streams.records

    def restore(self, saved: Saved) -> Iterator[Effect]:
        """Go on where the store left off; learn the examples that the checkpoint lacks."""
        if saved.checkpoint is not None:
            self.watch.restore(self.learner.restore(saved.checkpoint))
        self._scorer.restore(saved.standing)
        self.examples.sequence = saved.sequence
        for name, progress in saved.progress:
            self.streams[name].restore(progress)
            self.streams.heard[name] = None
        for row in saved.rows:
            if self._is_of_now(row):
                self.streams[row.stream].window.push([row])
        entries = [e for e in saved.entries() if self._counts(e.prediction)]
        self.labels.restore(entries, saved.rows)
        scored = [pair for pair in saved.scored if self._counts(pair[0])]
        self.watch.monitor.warm((), self._errors_of(scored))
        yield from self.learner.learn(list(saved.examples))
        yield from self.learner.study()

    def see_again(self, rows: Iterable[Row]) -> None:
        """Show the drift detectors stored rows, after :meth:`restore`."""
        self.watch.monitor.warm([row for row in rows if self._is_of_now(row)], ())

    def feed(self, event: Event | Wish | Passed) -> Iterator[Effect]:
        """Take one event and yield what is to be done about it."""
        match event:
            case Arrived():
                yield from self._arrived(event)
            case Inferred() if self._owner.warms:
                self._owner.remember(event)
            case Inferred():
                yield from self._inferred(event)
            case Trained():
                yield from self.learner.trained(event)
            case Study(batches):
                yield from self.learner.study(batches)
            case Passed(seconds):
                yield from self._notice_silence(seconds)
            case Pause() | Forget() | Reset() | Warm():
                yield from self._settle()
                yield from self._owner.grant(event)
            case _:
                yield from self._settle()
                yield from self._change(event)

    def _change(
        self, event: Settle | Taken | Released | Refined | Cleared | Ticked
    ) -> Iterator[Effect]:
        """Take an event that what came before it must be settled for."""
        match event:
            case Settle():
                pass
            case Taken(sequence):
                self.learner.take(sequence)
                yield self.checkpoint()
            case Released(version, merged):
                self.watch.released()
                yield from self.learner.release(version, merged)
                yield self.checkpoint()
            case Refined():
                self.learner.refined(event)
            case Cleared(marks, rows, examples):
                self.examples.clear(examples)
                self._batch.joined.add(rows)
                yield from self._close(Predictions.of(()), cleared=marks)
                yield from self.learner.study()
            case Ticked():
                if self.learner.changed:
                    yield self.checkpoint()
            case _:
                assert_never(event)

    def checkpoint(self) -> Checkpoint:
        """Encode what was learned, and what watches it."""
        return self.learner.checkpoint(self.watch.save())

    def _notice_silence(self, seconds: float) -> Iterator[Warn | Happened]:
        heard, self.streams.heard = self.streams.heard, {}
        for turn in self.silence.passed(seconds, heard):
            now, before = (0.0, turn.seconds) if turn.speaks else (turn.seconds, 0.0)
            newest = max(self.streams[turn.stream].rows.newest, 0)
            yield Warn((Alarm(turn.stream, newest, "silence", "", now, before),))
            if turn.speaks:
                yield Happened("heard", f"stream {turn.stream}, after {turn.seconds:.0f} s")

    def _is_of_now(self, row: Row) -> bool:
        return row.slot * int(self._manifest.grid.period) >= self.streams[row.stream].begun

    def _counts(self, prediction: Prediction) -> bool:
        return prediction.time >= self.streams[prediction.stream].since

    def _arrived(self, event: Arrived) -> Iterator[Effect]:
        before = len(self._batch.joined.cut)
        yield from self._batch.take(event, self.streams)
        self._settles = event.settle
        if cut := self._batch.joined.cut[before:]:
            yield self._predicting.ask(cut)
        else:
            yield from self._settle_if_asked()

    def _inferred(self, answer: Inferred) -> Iterator[Effect]:
        batch = self._batch
        cut = batch.joined.cut[batch.predicted :]
        predictions, sane = self._predicting.make(cut, answer)
        batch.predicted += len(predictions)
        batch.predictions.append(predictions)
        batch.windows.append(answer.windows.values)
        yield Publish(predictions)
        if not sane:
            yield self._scorer.diverged()
        yield from self._settle_if_asked()

    def _settle_if_asked(self) -> Iterator[Effect]:
        if self._settles:
            yield from self._settle()
            yield from self.learner.study()

    def _settle(self) -> Iterator[Effect]:
        """Let what came since the last time meet its labels, and store it."""
        batch = self._batch
        if batch.empty:
            return
        made = Predictions.join(batch.predictions)
        windows = join(batch.windows) if batch.windows else _NO_WINDOWS
        if self.watch.watches:
            batch.alarms += self.watch.joined(batch.joined.rows)
            batch.alarms += self.watch.predicted(made, windows)
        yield from self._meet_labels(made, windows)
        if self._manifest.task == "anomaly" and not self._outside:
            for prediction in made:
                yield from self._scorer.unlabelled(prediction)
        yield from self._close(made)

    def _meet_labels(self, made: Predictions, windows: Floats) -> Iterator[Happened | Refuse]:
        """Let what came be the label of what waited, and judge the models by it."""
        found = yield from self._matching.match(self._batch, made, windows)
        for item in found:
            if isinstance(item, Met):
                yield from self._count(item)
            else:
                yield from self._correct(item)

    def _count(self, met: Met) -> Iterator[Happened]:
        """Take labels that are the first of their predictions."""
        made, batch = met.predictions, self._batch
        batch.scores += map(Score, made.ids, met.labels)
        now = errors_of(self._manifest, made, met.labels)
        if self.watch.watches:
            batch.alarms += self.watch.scored(made, met.windows, served_of(now, made))
        self.streams.labelled(zip(made.streams, met.labels, strict=True))
        if batch.labels:
            batch.joined.touched |= dict.fromkeys(made.streams)  # their baselines know more
        self._matching.learn_from(met)
        self.ranking.count(met)
        yield from self._scorer.count(made, now)

    def _correct(self, item: Labelled) -> Iterator[Happened]:
        prediction = item.entry.prediction
        self._batch.scores.append(Score(prediction.id, item.label))
        self.examples.correct(item.entry, item.label)
        made = Predictions.of([prediction])
        before, now = (
            errors_of(self._manifest, made, [label])[0]
            for label in (item.before or 0.0, item.label)
        )
        yield from self._scorer.correct(item, before, now)

    def _errors_of(
        self, scored: Sequence[tuple[Prediction, float]]
    ) -> Iterator[tuple[str, int, float]]:
        """Yield stream, time and error of stored predictions whose labels came."""
        made = Predictions.of([prediction for prediction, _ in scored])
        table = errors_of(self._manifest, made, [label for _, label in scored])
        errors: list[float] = served_of(table, made).tolist()
        yield from zip(made.streams, made.times.tolist(), errors, strict=True)

    def _close(self, made: Predictions, cleared: tuple[Mark, ...] = ()) -> Iterator[Effect]:
        """Store what was made of what came, and let the learner have the examples.

        What the stored examples would not repeat goes before it: a crash between the two repeats
        what came.
        """
        batch, self._batch = self._batch, Intake()
        kept = self.examples.drain()
        if batch.alarms:
            yield Warn(tuple(batch.alarms))
            yield from self._react(batch.alarms)
        if self.learner.unrepeatable:
            yield self.checkpoint()
        yield Store(
            rows=batch.joined.rows,
            predictions=made,
            scores=tuple(batch.scores),
            examples=kept.examples,
            marks=tuple(batch.joined.marks),
            held=tuple(kept.held),
            cleared=cleared,
            corrections=tuple(kept.corrections),
            progress=tuple((name, self.streams[name].progress()) for name in batch.joined.touched),
            standing=self._scorer.changes(),
            receipts=tuple(batch.receipts),
        )
        yield from self.learner.learn(kept.examples)

    def _react(self, alarms: Sequence[Alarm]) -> Iterator[Happened]:
        self.learner.changed = True
        reaction = self.watch.react(alarms)
        if reaction.steps:
            self.learner.hurry(reaction.factor, reaction.steps)
        if reaction.reset:
            yield self._scorer.reset(f"drift of stream {alarms[0].stream}")


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


_NO_WINDOW: Floats = np.zeros((0, 0), np.float32)
_NO_WINDOWS: Floats = np.zeros((0, 0, 0), np.float32)
