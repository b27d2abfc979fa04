"""What the agent remembers: the seam, what can be written, and a store that lives in memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headwater.errors import StorageError
from headwater_agent import events
from headwater_agent.events import Batch, Example, Floats, Prediction, Row
from headwater_agent.pipeline import Saved
from headwater_agent.rebuilding import with_windows
from headwater_agent.settings import StoreSettings
from headwater_agent.waiting import MAX_WAITING
from headwater_models.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Update:
    """An update for the fleet that was begun: its number, task, base, and how far it reaches."""

    sequence: int
    task: str
    base: str
    learned_through: int
    taken_ms: int


@dataclass(frozen=True, slots=True)
class Note:
    """Something an owner wants to read later: a release, a reset, a refusal."""

    time: int
    kind: Literal[
        "start",
        "stop",
        "release",
        "rollback",
        "promoted",
        "demoted",
        "reset",
        "paused",
        "resumed",
        "overloaded",
        "cleared",
        "forgotten",
        "renewed",
        "warmed",
        "heard",
        "refusal",
        "repaired",
    ]
    detail: str


@dataclass(frozen=True, slots=True)
class Count:
    """Additions to counters that outlive a restart."""

    added: Mapping[str, int]


class Unsent(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A message of ours that the broker has not acknowledged; ``token`` names it in this run."""

    token: int
    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Outbox:
    """Messages that were published, in their order, and tokens of those acknowledged since.

    What is added and acknowledged before its group is written never reaches the disk. ``afresh``
    says that what an earlier run left was published again, or is given up: it goes, and this is
    all there is.
    """

    added: Sequence[Unsent] = ()
    gone: Sequence[int] = ()
    afresh: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """Fingerprints of messages that were taken up, int64 each, in their order."""

    values: Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class Messages:
    """What a transport needs to go on: the newest ``fingerprints`` and what is ``unsent``.

    Both are oldest first; a message is a repetition of one whose fingerprint is here.
    """

    fingerprints: Sequence[int]
    unsent: Sequence[Unsent]


Entry = (
    events.Store | events.Checkpoint | events.Warn | Update | Note | Count | Outbox | Fingerprints
)


class PassingError(StorageError):
    """Nothing can be written for now: the disk is full, or something holds it. Worth a retry."""


class Store(Protocol):
    """The memory of one model on one device. One writer; rows and examples are bounded.

    The laws, each with a test of its name: a group is there whole or not at all; a prediction
    written again changes nothing; an example comes back with the window it was made of, and not
    at all once a row of it was dropped; what is over a limit is dropped oldest first and counted.
    """

    def write(self, group: Sequence[Entry]) -> None:
        """Make a group durable in one transaction.

        Raises
        ------
        PassingError
            When it cannot be written for now; nothing of the group is kept.
        StorageError
            When the disk or the database is at fault; nothing of the group is kept then either.
        """

    def load(self) -> Saved:
        """Return what the pipeline needs to go on after a restart."""

    def messages(self) -> Messages:
        """Return what the transport needs to go on after a restart."""

    def examples(self, *, reserved: bool, newest: int, through: int | None = None) -> Batch:
        """Return the newest examples of one kind, oldest first, with windows rebuilt from rows.

        None of a sequence above *through*, where it is given. Their weights are 1. Embargoed
        windows were never stored.
        """

    def close(self) -> None:
        """Give the files back; a second call is fine."""


FINGERPRINTS = 1_000
"""Fingerprints kept where nothing else is said: no broker sends more that is unacknowledged."""


class MemoryStore:
    """A store without a disk, for tests and for simulated devices.

    Parameters
    ----------
    manifest
        Grid, window and horizon.
    settings
        The limits; durability means nothing here.
    late
        How long a prediction may wait for a label from outside, milliseconds.
    fingerprints
        How many are kept.
    """

    def __init__(
        self,
        manifest: Manifest,
        settings: StoreSettings,
        *,
        late: int = 0,
        fingerprints: int = FINGERPRINTS,
    ) -> None:
        self._late = late
        self._fingerprints: deque[int] = deque(maxlen=fingerprints)
        self._unsent: dict[int, Unsent] = {}
        self.updates: dict[int, Update] = {}
        self.notes: list[Note] = []
        self.alarms: list[events.Alarm] = []
        self.counters: Counter[str] = Counter()
        self._manifest = manifest
        self._settings = settings
        self._rows: dict[str, dict[int, Floats]] = {}
        self._order: deque[tuple[str, int]] = deque()
        self._examples: deque[Example] = deque()
        self._predictions: dict[str, tuple[Prediction, float | None]] = {}
        self._progress: dict[str, bytes] = {}
        self._standing: dict[str, bytes] = {}
        self._checkpoint: events.Checkpoint | None = None

    def write(self, group: Sequence[Entry]) -> None:
        """Keep a group; see :meth:`Store.write`."""
        for entry in group:
            match entry:
                case events.Store():
                    self._keep(entry)
                case events.Checkpoint():
                    self._checkpoint = entry
                case Update():
                    self.updates[entry.sequence] = entry
                case Note():
                    self.notes.append(entry)
                case events.Warn(alarms):
                    self.alarms.extend(alarms)
                case Count(added):
                    self.counters.update(added)
                case Outbox():
                    self._unsent = unsent_after(self._unsent, entry)
                case Fingerprints(values):
                    self._fingerprints.extend(values)
        self._prune()

    def load(self) -> Saved:
        """Return what the pipeline needs; see :meth:`Store.load`."""
        newest = {name: next(reversed(rows)) for name, rows in self._rows.items()}
        through = self._checkpoint.learned_through if self._checkpoint else 0
        unlearned = [e for e in self._examples if e.sequence > through and not e.reserved]
        return Saved(
            checkpoint=self._checkpoint.state if self._checkpoint else None,
            progress=list(self._progress.items()),
            standing=list(self._standing.items()),
            rows=[
                Row(name, slot, values, np.zeros(len(values), np.bool_))
                for name, rows in self._rows.items()
                for slot, values in rows.items()
                if slot > newest[name] - self._manifest.window
            ],
            waiting=self._waiting(newest),
            scored=[(p, label) for p, label in self._predictions.values() if label is not None],
            sequences={(e.stream, e.time): e.sequence for e in self._examples},
            examples=self._with_windows(unlearned[-MAX_WAITING:]),
            sequence=max([through, *(e.sequence for e in self._examples)]),
        )

    def messages(self) -> Messages:
        """Return what the transport needs to go on; see :meth:`Store.messages`."""
        return Messages(list(self._fingerprints), list(self._unsent.values()))

    def examples(self, *, reserved: bool, newest: int, through: int | None = None) -> Batch:
        """Return the newest examples of one kind; see :meth:`Store.examples`."""
        last = self._examples[-1].sequence if through is None and self._examples else through or 0
        kind = [e for e in self._examples if e.reserved == reserved and e.sequence <= last]
        chosen = self._with_windows(kind[-newest:])
        shape = (len(chosen), self._manifest.window, len(self._manifest.channels))
        return Batch(
            window=np.array([e.window for e in chosen], np.float32).reshape(shape),
            time=np.array([e.time for e in chosen], np.int64),
            label=np.array([e.label for e in chosen], np.float32).reshape(-1, 1),
            weight=np.ones(len(chosen), np.float32),
        )

    def close(self) -> None:
        """Do nothing; the memory stays readable."""

    def _keep(self, entry: events.Store) -> None:
        for row in entry.rows:
            rows = self._rows.setdefault(row.stream, {})
            if row.slot not in rows:
                self._order.append((row.stream, row.slot))
            rows[row.slot] = row.values
        for prediction in entry.predictions:
            self._predictions.setdefault(prediction.id, (prediction, None))
        for score in entry.scores:
            if score.prediction in self._predictions:
                prediction, _ = self._predictions[score.prediction]
                self._predictions[score.prediction] = (prediction, score.label)
        self._examples.extend(replace(e, window=_NO_WINDOW) for e in entry.examples)
        corrected = {c.sequence: float(np.float32(c.label)) for c in entry.corrections}
        if corrected:
            self._examples = deque(
                replace(e, label=corrected.get(e.sequence, e.label)) for e in self._examples
            )
        for stream, through in entry.erased:
            self._examples = deque(
                e for e in self._examples if e.sequence > through or stream not in ("", e.stream)
            )
        self._progress.update(entry.progress)
        self._standing.update(entry.standing)

    def _prune(self) -> None:
        while len(self._order) > self._settings.rows:
            name, slot = self._order.popleft()
            if slot > next(reversed(self._rows[name])) - kept_rows(self._manifest, self._late):
                self._order.append((name, slot))
                break
            del self._rows[name][slot]
            self.counters["rows-dropped"] += 1
        while len(self._examples) > self._settings.examples:
            self._examples.popleft()
            self.counters["examples-dropped"] += 1
        while len(self._predictions) > self._settings.predictions:
            del self._predictions[next(iter(self._predictions))]
            self.counters["predictions-dropped"] += 1
        while len(self._unsent) > self._settings.outbox:
            del self._unsent[next(iter(self._unsent))]
            self.counters["outbox-dropped"] += 1

    def _waiting(self, newest: Mapping[str, int]) -> list[tuple[Prediction, Floats]]:
        reach = reach_of(self._manifest, self._late)
        period = int(self._manifest.grid.period)
        found = [
            prediction
            for prediction, label in self._predictions.values()
            if label is None and prediction.time + reach > newest.get(prediction.stream, 0) * period
        ]
        return with_windows(self._manifest, found, self._rows_between)

    def _with_windows(self, found: Sequence[Example]) -> list[Example]:
        pairs = with_windows(self._manifest, found, self._rows_between)
        return [replace(example, window=window) for example, window in pairs]

    def _rows_between(self, stream: str, first: int, last: int) -> tuple[NDArray[np.int64], Floats]:
        rows = self._rows.get(stream, {})
        slots = [slot for slot in rows if first <= slot <= last]
        shape = (len(slots), len(self._manifest.channels))
        cells = np.array([rows[slot] for slot in slots], np.float32).reshape(shape)
        return np.array(slots, np.int64), cells


def unsent_after(unsent: Mapping[int, Unsent], entry: Outbox) -> dict[int, Unsent]:
    """Return by token what the broker has not acknowledged once an entry is applied."""
    left = {} if entry.afresh else dict(unsent)
    left.update((message.token, message) for message in entry.added)
    for token in entry.gone:
        left.pop(token, None)
    return left


_NO_WINDOW: Floats = np.zeros((0, 0), np.float32)
"""Stands in a stored example: its window is rebuilt from the rows."""


def reach_of(manifest: Manifest, late: int = 0) -> int:
    """Return from how many milliseconds after its window on no label for a prediction may come.

    The row that is to label a forecast has come by then; a label from outside may come with it.
    """
    return int(manifest.horizon) + late + (manifest.task != "forecast")


def kept_rows(manifest: Manifest, late: int = 0) -> int:
    """Return how many newest rows of each stream are never dropped: what may still be labelled."""
    return manifest.window + max(int(manifest.horizon), late) // int(manifest.grid.period)
