"""The agent's loop: one thread that drains the socket, predicts, learns and publishes.

What a wake-up brought is the batch: no added latency when the stream is quiet, large batches when
it is busy. A second thread writes the store; only what it has committed is acknowledged.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from headwater.clock import now_ms
from headwater.errors import BundleError, StorageError
from headwater_agent import events
from headwater_agent.backlog import Backlog
from headwater_agent.beside import Beside, load_beside
from headwater_agent.checkpointing import Checkpointing
from headwater_agent.compute import make_compute
from headwater_agent.connection import make_transport
from headwater_agent.granting import Granting
from headwater_agent.heap import trimmer
from headwater_agent.inflight import InFlight
from headwater_agent.jobs import Jobs
from headwater_agent.outbox import Sender
from headwater_agent.pace import SETTLE_S, Pace
from headwater_agent.pipeline import Pipeline, carry_out
from headwater_agent.publish import Publisher
from headwater_agent.ranking import Ranking
from headwater_agent.reception import Reception
from headwater_agent.redelivery import REACH, Redelivery
from headwater_agent.releases import Releases, first_version
from headwater_agent.reports import Reports
from headwater_agent.settings import AgentSettings
from headwater_agent.silence import Passed
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import Count, Entry, Fingerprints, Note, Update
from headwater_agent.store_thread import StoreThread
from headwater_agent.synchronised import Clock
from headwater_agent.systemd import Notifier
from headwater_agent.transport import Message, Waker
from headwater_agent.watch import told
from headwater_models.bundle import Bundle

HOUSEKEEPING_S = 1.0
"""How often releases, tasks and the status are looked after."""

PAST_MEANS = 100
"""Means of each channel that the drift detectors see again at a start."""

PATIENCE_S = 0.25
"""How long housekeeping waits for messages, so as to come between those and the next."""

TRIM_S = 10.0
"""How often free memory is given back."""

_log = logging.getLogger(__name__)


class Agent:
    """One model on one device.

    Parameters
    ----------
    settings
        All that the agent is told.
    settings_file
        Where it was read from, for the trainer.
    clock
        Whether the wall clock may be gone by.
    notifier
        Hears how it goes.
    look
        Called every second, when all else was looked after.

    Raises
    ------
    BundleError, StorageError, SettingsError
        When the model, the database or the settings do not allow a start.
    """

    def __init__(
        self,
        settings: AgentSettings,
        settings_file: Path,
        *,
        clock: Clock,
        notifier: Notifier,
        look: Callable[[], None],
    ) -> None:
        self._settings, self._clock = settings, clock
        self._notifier, self._look = notifier, look
        publisher = settings.trust.publisher or None
        self._bundle = Bundle.load(settings.bundle, publisher=publisher)
        manifest = self._bundle.manifest
        beside = load_beside(settings.beside, manifest, publisher=publisher)
        self._beside = Beside(beside, manifest.outputs)
        self._pipeline = Pipeline(
            manifest,
            first_version(self._bundle),
            settings.pipeline(manifest),
            Ranking(manifest, self._beside.names, self._beside.versions),
        )
        self._reports = Reports(settings, self._bundle.model_id, self._pipeline)
        self._live = self._reports.live
        self._reception = Reception(settings, manifest)
        self._reception.trust_clock(right=self._clock.is_right)
        self._publisher = Publisher(settings, self.model, manifest, self._beside.names)
        self._compute = make_compute(self._bundle, settings.learn.river, self._learned)
        self._waker = Waker()
        self._transport = make_transport(settings, self._waker)
        late = int(settings.labels.late) if settings.labels else 0
        reach = max(REACH, settings.broker.receive_maximum)
        self._store = SqliteStore(
            settings.agent_db, manifest, settings.store, late=late, fingerprints=reach
        )
        before = self._store.messages()
        self._redelivery = Redelivery(before.fingerprints, reach)
        self._in_flight = InFlight(settings.commit_records // 2)
        self._pace = Pace(
            every_s=min(SETTLE_S, settings.store.commit_every / 1000),
            messages=self._in_flight.group,
            budget_s=settings.learn.budget / 1000,
        )
        self._writer = StoreThread(
            self._store,
            every_s=settings.store.commit_every / 1000,
            records=self._in_flight.group,
            wake=self._waker.wake,
        )
        self._update = self._store.last_update()
        self._releases = Releases(settings, self._bundle, self._compute)
        self._jobs = Jobs(
            settings,
            settings_file,
            manifest=manifest,
            begin=self._begin_update,
            refined=lambda event: self._do_all(self._pipeline.feed(event)),
        )
        self._granting = Granting(
            settings,
            manifest,
            pipeline=self._pipeline,
            store=self._store,
            writer=self._writer,
            compute=self._compute,
            jobs=self._jobs,
            do_all=self._do_all,
        )
        most, qos = settings.store.outbox // 2, settings.output.qos
        self._sender = Sender(self._transport, before.unsent, qos=qos, most=most)
        self._give_back = trimmer()
        self._timeless = any(item.time.format == "none" for item in settings.inputs)
        self._counts: Counter[str] = Counter()
        self._backlog, self._trouble = Backlog(), ""
        self._taken_at, self._taken_ms, self._listened_at = 0.0, 0, time.monotonic()
        self._stopping = self._goes_on = False

    @property
    def model(self) -> str:
        """Id of the model."""
        return self._bundle.model_id

    def run(self) -> None:
        """Work until :meth:`stop`; then leave everything durable and say goodbye."""
        saved = self._store.load()
        self._granting.look_at_pauses()
        if all(item.time.format == "none" for item in self._settings.inputs):
            self._clock.steady.not_before(saved.newest(int(self._bundle.manifest.grid.period)))
        self._do_all(self._pipeline.restore(saved))
        if self._settings.drift.watches("inputs"):
            past = self._store.past_rows(PAST_MEANS * self._settings.drift.mean_of)
            self._pipeline.see_again(past)
        personal = self._pipeline.learner.personal
        self._compute.resume(personal.parameters, personal.state)
        self._releases.warm(self._pipeline.learner.version)
        self._writer.put(Note(now_ms(), "start", self._bundle.version_id))
        _log.info("running %s on model %s", self._settings.device, self._bundle.model_id[:12])
        self._granting.look()
        due = trim_due = 0.0
        checkpoints = Checkpointing(self._pipeline.learner.learned_through)
        try:
            while not self._stopping:
                rest = self._rest(due)
                self._sender.gather(rest)
                came = self._transport.poll(rest)
                self._take(self._backlog.next(came, room=self._sender.room()))
                self._catch_up(fresh=bool(came))
                self._acknowledge(came)
                now = time.monotonic() - (0.0 if came else PATIENCE_S)
                if now >= due:
                    self._keep_house()
                    due = time.monotonic() + HOUSEKEEPING_S
                if checkpoints.due(now, self._pipeline.learner.learned_through):
                    self._do_all(self._pipeline.feed(events.Ticked()))
                if now >= trim_due:
                    self._give_back()
                    trim_due = time.monotonic() + TRIM_S
        finally:
            self._close()

    def _acknowledge(self, came: Sequence[Message]) -> None:
        """Acknowledge what is durable, in groups that no broker waits for."""
        durable, now = self._writer.committed(), time.monotonic()
        self._in_flight.arrived(sum([message.qos for message in came]), now)
        self._in_flight.acknowledged(len(durable), now)
        self._writer.records = self._pace.messages = self._in_flight.group
        self._sender.acknowledge(durable)

    def _rest(self, due: float) -> float:
        """Return how many seconds there is nothing to do unless something comes."""
        if self._pipeline.learner.is_due or (self._backlog and self._sender.room()):
            return 0.0
        now = time.monotonic()
        return min(max(0.0, due + PATIENCE_S - now), self._pace.rest(now))

    def stop(self, *, goes_on: bool = False) -> None:
        """End :meth:`run` soon; safe to call from a signal handler.

        Parameters
        ----------
        goes_on
            Whether another agent goes on in this process.
        """
        self._stopping, self._goes_on = True, goes_on
        self._waker.wake()

    def _learned(self) -> list[events.Batch]:
        newest, through = self._settings.learn.buffer, self._pipeline.learner.learned_through
        return [self._store.examples(reserved=False, newest=newest, through=through)]

    def _take(self, messages: Sequence[Message]) -> None:
        """Predict from what came in, as one batch."""
        if (gone := self._sender.gone(whole=not messages)) is not None:
            self._writer.put(gone)
        if not messages:
            return
        self._taken_at = time.perf_counter()
        fresh, repeated = self._redelivery.sort(messages, resumed=self._transport.resumed)
        if repeated:
            self._counts["repeated"] += len(repeated)
            self._do_all(self._pipeline.feed(events.Settle()))
            self._writer.put(events.Store(receipts=tuple(repeated)))
        self._taken_ms = self._clock.steady.now_ms()
        arrived = self._reception.take(fresh, self._taken_ms)
        self._do_all(self._pipeline.feed(arrived))
        now = time.monotonic()
        self._live.arrived(len(arrived.records), now)
        self._pace.arrived(len(fresh), now)

    def _catch_up(self, *, fresh: bool) -> None:
        """Settle what came, and learn, where it is time for either."""
        learner = self._pipeline.learner
        if self._pace.settles(time.monotonic(), fresh=fresh):
            self._do_all(self._pipeline.feed(events.Settle()))
        if learner.is_due:
            began, steps = time.monotonic(), learner.steps
            self._do_all(self._pipeline.feed(events.Study(self._pace.batches)))
            self._pace.learned(learner.steps - steps, time.monotonic() - began)

    def _do_all(self, effects: Iterable[events.Effect]) -> None:
        carry_out(self._pipeline, effects, self._do)

    def _do(self, effect: events.Effect) -> events.Event | None:
        match effect:
            case events.Infer():
                return self._beside.join(self._compute.infer(effect))
            case events.Train():
                return self._compute.train(effect)
            case events.Refine():
                self._jobs.refine(effect)
            case events.Publish(predictions):
                self._publish(predictions)
            case events.Warn(alarms):
                self._warn(alarms)
                self._writer.put(effect)
            case events.Store():
                self._live.marked(effect.marks)
                self._store_messages(effect)
            case events.Checkpoint():
                self._writer.put(effect)
            case events.Happened(kind, detail):
                self._writer.put(Note(now_ms(), kind, detail))
                _log.info("%s: %s", kind, detail)
            case events.Refuse(reason):
                self._counts[f"refused-{reason}"] += 1
        return None

    def _publish(self, predictions: Sequence[events.Prediction]) -> None:
        passed_ms = round(1000 * (time.perf_counter() - self._taken_at))
        messages = self._publisher.encode(predictions, self._taken_ms + passed_ms)
        self._sender.send(messages, retain=self._settings.output.retain)
        self._live.predicted(1000 * (time.perf_counter() - self._taken_at), len(predictions))

    def _warn(self, alarms: tuple[events.Alarm, ...]) -> None:
        retain = self._settings.output.retain
        self._sender.send(list(map(self._publisher.encode_alarm, alarms)), retain=retain)
        for alarm in alarms:
            _log.warning("stream %s %s", alarm.stream, told(alarm))

    def _store_messages(self, *entries: Entry) -> None:
        """Store entries together with the messages that they come from and led to."""
        receipts = [r for e in entries if isinstance(e, events.Store) for r in e.receipts]
        taken = self._redelivery.fingerprints(receipts)
        outbox = self._sender.changes()
        more = [Fingerprints(taken)] if taken else []
        self._writer.put(*([outbox] if outbox else []), *entries, *more)

    def _keep_house(self) -> None:
        self._look_at_exchange()
        self._granting.look()
        self._reception.trust_clock(right=self._clock.is_right)
        self._notice_silence()
        self._store_counts()
        self._store_messages()
        self._write_status()
        self._beat()
        self._look()

    def _notice_silence(self) -> None:
        """Let the time count in which records could have come."""
        before, self._listened_at = self._listened_at, time.monotonic()
        if self._transport.connected:
            self._do_all(self._pipeline.feed(Passed(self._listened_at - before)))

    def _beat(self) -> None:
        """Tell systemd that the loop went round, and whether a record would become a prediction."""
        transport = self._transport
        why = transport.trouble or ("" if transport.connected else "waiting for the broker")
        self._notifier.beat(able=not why, status=self._writer.trouble or why or "predicting")

    def _store_counts(self) -> None:
        self._counts += self._reception.refused + self._sender.losses()
        self._reception.refused.clear()
        if self._counts:
            self._writer.put(Count(dict(self._counts)))
            self._live.refused(self._counts)
            self._counts.clear()

    def _look_at_exchange(self) -> None:
        """Take up what the federation client has; its troubles are never the agent's."""
        trouble = ""
        try:
            if (found := self._releases.newer(self._pipeline.learner.version)) is not None:
                self._release(*found)
            self._jobs.poll()
        except (BundleError, StorageError) as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            _log.warning("predictions go on, but not the federation: %s", trouble)
            self._writer.put(Note(now_ms(), "refusal", trouble))
        self._trouble = trouble

    def _release(self, version: events.Version, merged: int) -> None:
        self._do_all(self._pipeline.feed(events.Released(version, merged)))
        self._writer.put(Note(now_ms(), "release", version.name))
        _log.info("release %s, sequence %s, serves", version.name[:12], version.sequence)

    def _begin_update(self, task: str, base: str) -> int:
        self._update += 1
        self._do_all(self._pipeline.feed(events.Taken(self._update)))
        through = self._pipeline.learner.learned_through
        self._writer.put(Update(self._update, task, base, through, now_ms()))
        self._writer.flush()
        return self._update

    def _write_status(self, *, last: bool = False) -> None:
        self._reports.write(
            connected=self._transport.connected,
            trouble=self._transport.trouble or self._writer.trouble,
            clock=(self._clock.complaint() or "") if self._timeless else "",
            last=last,
        )

    def _close(self) -> None:
        """Stop in the order in which nothing is lost: learn, store, acknowledge, say goodbye.

        What the broker acknowledges of ours until then is no longer in the outbox.
        """
        if not self._goes_on:
            self._notifier.stopping()
        self._jobs.stop()
        self._do_all(self._pipeline.feed(events.Ticked()))
        self._store_counts()
        self._writer.put(Note(now_ms(), "stop", self._pipeline.learner.version.name))
        self._store_messages()
        try:
            self._writer.flush()
            self._sender.acknowledge(self._writer.committed(), last=True)
        finally:
            self._transport.close()
            try:
                self._store_messages()
                self._writer.close()
            finally:
                self._write_status(last=True)
                self._store.close()
                self._waker.close()
