"""Group commit: one thread writes the store in groups, then gives the receipts back."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from headwater.errors import HeadwaterError, StorageError
from headwater_agent import events
from headwater_agent.kept import Kept
from headwater_agent.store import Count, Entry, Fingerprints, Outbox, PassingError, Store, Update

MAX_WAITING = 20_000
"""Rows, predictions, messages and the like that wait for the disk at most."""

LARGE = MAX_WAITING * 3 // 4
"""From how many on they are a group, whatever its age and receipts."""

HASTY = 250
"""Where fewer receipts are a group, brokers may stand still until it is acknowledged (they send 20
to 100 messages without), and take none of ours meanwhile, so that it waits for none of those.
"""

PATIENCE_S = 2.0
"""How long :meth:`StoreThread.put` waits for a disk that is slow; then it drops what it may."""

FLUSH_S = 10.0
"""How long :meth:`StoreThread.flush` waits."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
"""Between the attempts to write a group."""

_log = logging.getLogger(__name__)


class StoreThread:
    """Write entries in the order in which they came, many in one transaction.

    A group is committed when it is ``every_s`` old, holds the receipts of ``records`` messages and
    the broker has what they led to, or is :data:`LARGE`. Only then are its receipts handed back, so
    a crash redelivers and never loses. Messages that the broker has by then are not written; those
    of an :class:`.Outbox` belong to what is handed over behind it, up to the next one.

    A group that cannot be written for now, as on a full disk, is tried again until it is. What
    comes meanwhile waits. What is over :data:`MAX_WAITING` is dropped and counted, but for what
    has receipts: as none is handed back, the broker soon sends no more of that.

    Parameters
    ----------
    store
        Used by this thread alone until :meth:`close`.
    every_s, records
        When a group is full: its age in seconds, its number of receipts, which may be changed: one
        of fewer than at first, or than :data:`HASTY`, does not wait for the broker.
    wake
        Called from the thread after each commit, and when one fails.
    """

    def __init__(
        self, store: Store, *, every_s: float, records: int, wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._every_s = every_s
        self.records = records
        self._patient_from = max(HASTY, records)
        self._wake = wake
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, Entry]] = []
        self._weight = 0
        self._owed: dict[int, None] = {}
        self._flush = False
        self._stop = False
        self._overdue = False
        self._trouble = ""
        self._uncounted: Counter[str] = Counter()
        self._receipts: list[int] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why nothing can be stored for now; empty while all is well."""
        return self._trouble or ("The disk is slow." if self._overdue else "")

    def put(self, *entries: Entry) -> None:
        """Hand over entries of one group; waits a little while too much waits for the disk.

        Raises
        ------
        StorageError
            When an earlier group could not be written and never will; nothing later is.
        """
        with self._changed:
            if self._weight >= MAX_WAITING and not self.trouble:
                self._overdue = not self._changed.wait_for(self._may_go_on, PATIENCE_S)
            self._check()
            now, first = time.monotonic(), not self._waiting
            for entry in entries:
                if isinstance(entry, Outbox):
                    self._hear(entry.gone)
                if self._weight >= MAX_WAITING and self._drop(entry):
                    continue
                self._waiting.append((now, _light(entry)))
                self._weight += _weight(entry)
                if isinstance(entry, Outbox):
                    self._owed.update(dict.fromkeys(message.token for message in entry.added))
            if first or self._full():
                self._changed.notify_all()

    def flush(self) -> None:
        """Return once everything handed over so far is durable; raises as :meth:`put` does.

        Raises
        ------
        PassingError
            When it cannot be made durable for now. It waits on.
        """
        with self._changed:
            self._flush = True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: not self._flush or self._error is not None or self.trouble, FLUSH_S
            )
            self._check()
            if self._flush:
                raise PassingError(f"Nothing can be stored for now. {self.trouble}".rstrip())

    def committed(self) -> list[int]:
        """Return the receipts that became durable since the last call, in their order.

        Raises
        ------
        StorageError
            When a group could not be written.
        """
        if not self._receipts and self._error is None:
            return []
        with self._changed:
            self._check()
            receipts, self._receipts = self._receipts, []
        return receipts

    def close(self) -> None:
        """Write what waits and end the thread; raises as :meth:`put` does.

        What cannot be written then is given up, and its receipts are never handed back. The store
        stays open. A second call is fine.
        """
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise StorageError(f"The agent cannot go on: {self._error}") from self._error

    def _may_go_on(self) -> bool:
        return self._weight < MAX_WAITING or self._error is not None or bool(self._trouble)

    def _drop(self, entry: Entry) -> bool:
        """Count an entry instead of keeping it, if it is one that may be dropped."""
        match entry:
            case Update() | Fingerprints():
                return False
            case events.Store() if entry.receipts:
                return False
            case events.Store():
                self._uncounted["rows-unstored"] += len(entry.rows)
                self._uncounted["predictions-unstored"] += len(entry.predictions)
            case Outbox():
                self._uncounted["outbox-unstored"] += len(entry.added)
            case Count(added):
                self._uncounted.update(added)
            case events.Checkpoint():
                self._forget_checkpoints()
                return False
            case _:
                self._uncounted["notes-unstored"] += 1
        return True

    def _forget_checkpoints(self) -> None:
        """Let the checkpoint that comes take the place of those that wait."""
        kept = [one for one in self._waiting if not isinstance(one[1], events.Checkpoint)]
        self._weight -= len(self._waiting) - len(kept)
        self._waiting = kept

    def _hear(self, gone: Iterable[int]) -> None:
        """Take that the broker has messages: they need not be written any more."""
        for token in gone:
            self._owed.pop(token, None)

    def _run(self) -> None:
        try:
            while (group := self._next_group()) is not None:
                self._write(group)
                self._hand_back(group)
        except HeadwaterError as error:
            self._fail(error)
        except Exception as error:
            self._fail(error)
            raise

    def _write(self, group: list[Entry]) -> None:
        """Write a group, however long it takes; once only when the thread is to end."""
        pauses = _pauses()
        while True:
            with self._changed:
                last, missing = self._stop, dict(+self._uncounted)
            try:
                self._store.write([*group, Count(missing)] if missing else group)
            except PassingError as error:
                if last:
                    raise
                self._suffer(str(error), next(pauses))
            else:
                self._recover(missing)
                return

    def _suffer(self, trouble: str, pause_s: float) -> None:
        if not self._trouble:
            _log.warning("predictions go on, but nothing can be stored for now: %s", trouble)
        with self._changed:
            self._trouble = trouble
            self._changed.notify_all()
        self._wake()
        with self._changed:
            self._changed.wait_for(lambda: self._stop, pause_s)

    def _recover(self, counted: dict[str, int]) -> None:
        if self._trouble:
            _log.warning("the store can be written again")
        with self._changed:
            self._trouble, self._overdue = "", False
            self._uncounted -= Counter(counted)
            self._changed.notify_all()

    def _next_group(self) -> list[Entry] | None:
        """Wait for a full group; None after :meth:`close`, when nothing waits."""
        with self._changed:
            while not (count := self._full()):
                if not self._waiting:
                    if self._stop:
                        return None
                    self._flush = False
                    self._changed.notify_all()
                    self._changed.wait()
                else:
                    self._changed.wait(max(0.0, self._due() - time.monotonic()))
            group = [self._unheard(entry) for _, entry in self._waiting[:count]]
            del self._waiting[:count]
            self._weight = sum(_weight(entry) for _, entry in self._waiting)
            self._changed.notify_all()
            return group

    def _due(self) -> float:
        """Return when what waits longest is old enough."""
        return self._waiting[0][0] + self._every_s

    def _full(self) -> int:
        """Return how many of the entries that wait, the first ones, are a group now."""
        if not self._waiting:
            return 0
        if self._stop or self._flush or self._weight >= LARGE or time.monotonic() >= self._due():
            return len(self._waiting)
        owed = next(iter(self._owed), None) if self.records >= self._patient_from else None
        receipts = count = 0
        for _, entry in self._waiting:
            if isinstance(entry, Outbox) and owed is not None and _reaches(entry, owed):
                break
            if isinstance(entry, events.Store):
                receipts += len(entry.receipts)
            count += 1
        return count if receipts >= self.records else 0

    def _unheard(self, entry: Entry) -> Entry:
        """Return an entry without the messages that the broker has."""
        if not isinstance(entry, Outbox):
            return entry
        added = [message for message in entry.added if message.token in self._owed]
        self._hear(message.token for message in added)
        return Outbox(added, entry.gone, entry.afresh)

    def _hand_back(self, group: list[Entry]) -> None:
        with self._changed:
            for entry in group:
                if isinstance(entry, events.Store):
                    self._receipts.extend(entry.receipts)
        self._wake()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
        self._wake()


def _light(entry: Entry) -> Entry:
    """Return an entry without the windows of its examples, which are cut from stored rows again."""
    if not isinstance(entry, events.Store) or not entry.examples:
        return entry
    return replace(entry, examples=Kept.of(entry.examples).without_windows())


def _reaches(outbox: Outbox, token: int) -> bool:
    """Say whether messages from this token on are among those that are added."""
    return bool(outbox.added) and outbox.added[-1].token >= token


def _weight(entry: Entry) -> int:
    match entry:
        case events.Store():
            parts = (entry.rows, entry.predictions, entry.scores, entry.examples, entry.receipts)
            return 1 + sum(map(len, parts))
        case Outbox():
            return 1 + len(entry.added)
        case _:
            return 1


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_S)
